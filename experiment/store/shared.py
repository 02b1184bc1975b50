"""State that many checkpoints share, such as a pretrained trunk: stored once next to the runs, named by its content."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiment.store.files import replacing

FOLDER = "shared"  # below the runs


def tensor_digest(state: Mapping[str, Tensor]) -> str:
    """Return the hex digest of a state's names, shapes, types and values. 45 MB take about 0.1 s."""
    content = hashlib.blake2b(digest_size=16)
    for name, value in sorted(state.items()):
        content.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        content.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)  # NumPy has no bfloat16
    return content.hexdigest()


def store_shared(root: Path, state: Mapping[str, Tensor]) -> str:
    """Store this state unless it is stored already; return its path relative to `root`, the folder of all runs."""
    path = root / FOLDER / f"{tensor_digest(state)}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(dict(state), temporary)
    return path.relative_to(root).as_posix()


def load_shared(root: Path, where: str) -> dict[str, Tensor]:
    """Return the state that `store_shared` stored at this path. Nothing in the file is executed."""
    state = torch.load(root / where, map_location="cpu", weights_only=True)
    assert isinstance(state, dict)
    return state
