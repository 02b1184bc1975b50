"""State that many checkpoints have in common, such as a pretrained trunk: kept once beside the runs, named by its content."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiment.store.files import replacing
from experiment.store.tensor_digest import tensor_digest

FOLDER = "shared"  # below the runs


def keep(root: Path, state: Mapping[str, Tensor]) -> str:
    """Where this state lies, relative to the folder of all runs; written if it is not there."""
    path = root / FOLDER / f"{tensor_digest(state)}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(dict(state), temporary)
    return path.relative_to(root).as_posix()


def kept(root: Path, where: str) -> dict[str, Tensor]:
    """What was kept there. Nothing in the file is executed."""
    state = torch.load(root / where, map_location="cpu", weights_only=True)
    assert isinstance(state, dict)
    return state
