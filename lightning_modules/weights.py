"""Pretrained weights: from torchvision by name, or from a file of plain tensors."""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor
from torchvision import models

from experiment.core.errors import UserError, listed, not_allowed
from experiment.core.identity import file_digest

FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar")


def weights_digest(name: str, weights: str | None) -> str:
    """What stands for the weights in a run's identity: torchvision's name, or the digest of the file once it was checked.

    Raises:
        UserError: as `load_weights` does, but nothing is downloaded.
    """
    if weights is None:
        return "random"
    if not _is_file(weights):
        return str(_torchvision(name, weights))
    return _digest(name, weights, *_state_of(weights))


def load_weights(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict of torchvision's ResNet `name` without its classifier ``fc``.

    Args:
        name: torchvision's name of the network.
        weights: a name such as ``IMAGENET1K_V1`` (downloaded by torchvision), or the path of a state dict. A file is read
            with ``weights_only``: no code in it is ever run.

    Raises:
        UserError: unknown name, failed download, a file that is no plain state dict or does not fit the network.
    """
    if _is_file(weights):
        return dict(_from_file(name, weights, *_state_of(weights)))
    known = _torchvision(name, weights)
    try:
        downloaded = known.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise UserError(
            f"backbone.weights={weights}: the download failed ({error}). Fetch {known.url} elsewhere and give its path with "
            "backbone.weights=FILE, or train from scratch with backbone.weights=null."
        ) from error
    return {key: value for key, value in downloaded.items() if not key.startswith("fc.")}


def _state_of(weights: str) -> tuple[Path, int, int]:
    """Path, size and time of change of a file: what is read once is not read again while these are the same."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"backbone.weights={path} is not there.")
    return path, path.stat().st_size, path.stat().st_mtime_ns


@lru_cache(maxsize=2)
def _digest(name: str, weights: str, path: Path, size: int, changed: int) -> str:
    _fitting(name, weights, _read(path))
    return file_digest(path)


@lru_cache(maxsize=2)
def _from_file(name: str, weights: str, path: Path, size: int, changed: int) -> Mapping[str, Tensor]:
    return {key: value.clone() for key, value in _fitting(name, weights, _read(path)).items()}


def _is_file(weights: str) -> bool:
    return "/" in weights or "\\" in weights or weights.endswith(FILE_SUFFIXES)


def _torchvision(name: str, weights: str) -> models.WeightsEnum:
    known = models.get_model_weights(name)
    if weights not in known.__members__:
        allowed = [*known.__members__, "null", "the path of a state dict"]
        raise not_allowed("backbone.weights", weights, allowed)
    return known[weights]


def _read(path: Path) -> Mapping[str, Tensor]:
    """What is in the file, mapped where its format allows: who keeps tensors copies them, for the file may change."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"backbone.weights={path} is not a plain state dict; it was read with weights_only and nothing in it was run. "
            "Save it anew with torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"backbone.weights={path} is not a plain state dict: a mapping of names to tensors is needed.")
    return state


def _fitting(name: str, weights: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of `state` that the network takes; everything the network needs must be there in the right shape."""
    with torch.device("meta"):
        wanted = {k: v.shape for k, v in models.get_model(name, weights=None).state_dict().items() if k[:3] != "fc."}
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    further = [key for key in state if key not in wanted and not key.startswith("fc.")]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(shape)}"
        for key, shape in wanted.items()
        if key in state and state[key].shape != shape
    ]
    if missing or further or shapes:
        told = [("missing", missing), ("not of this network", further), ("of another shape", shapes)]
        raise UserError(
            f"backbone.weights={weights} does not fit {name}: "
            + "; ".join(f"{len(keys)} {what}: {listed(keys, 3)}" for what, keys in told if keys)
        )
    return {key: state.get(key, torch.tensor(0)) for key in wanted}
