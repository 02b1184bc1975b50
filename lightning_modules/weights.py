"""Pretrained weights: by a name of the library, or from a file of plain tensors.

A name is ``default``, or one such as ``IMAGENET1K_V1`` (torchvision) or ``a1_in1k`` (a tag of timm), and the library downloads
it. A file holds the state dict of the whole network; it is read with ``weights_only``, so that no code in it is ever run.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor
from torchvision import models

from experiment.core.errors import UserError, listed, not_allowed
from experiment.core.identity import file_digest

FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar")


def weights_are_file(weights: str) -> bool:
    """Tell whether `weights` is a path rather than a library's name."""
    return "/" in weights or "\\" in weights or weights.endswith(FILE_SUFFIXES)


def weights_digest(library: str, name: str, weights: str | None) -> str:
    """Return what stands for the weights in a run's identity: the library's name for them, or the digest of the file.

    Raises:
        UserError: unknown name, or no file there; nothing is downloaded.
    """
    if weights is None:
        return "random"
    if weights_are_file(weights):
        state = load_file(weights)
        if library == "torchvision":
            _fit(name, weights, state)
        return file_digest(Path(weights).expanduser())
    if library == "torchvision":
        return str(_torchvision_weights(name, weights))
    import timm  # takes a second or two: only for its networks

    bare = name.partition(".")[0]
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{bare}.*")]
    if weights == "default":
        config = timm.get_pretrained_cfg(name)
        tag = config.tag if config else "none"
    elif weights in tags:
        tag = weights
    else:
        raise not_allowed("trunk.weights", weights, ["default", *tags, "null", "the path of a state dict"])
    return f"timm {bare}.{tag}"


def torchvision_state(name: str, weights: str) -> dict[str, Tensor]:
    """Return the state dict of torchvision's ResNet `name` without its classifier ``fc``.

    Raises:
        UserError: unknown name, failed download, a file that is no plain state dict or does not fit the network.
    """
    if weights_are_file(weights):
        return _fit(name, weights, load_file(weights))
    known = _torchvision_weights(name, weights)
    try:
        downloaded = known.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise UserError(
            f"trunk.weights={weights}: the download failed ({error}). Fetch {known.url} elsewhere and give its path with "
            "trunk.weights=FILE, or train from scratch with trunk.weights=null."
        ) from error
    return {key: value for key, value in downloaded.items() if not key.startswith("fc.")}


def load_file(weights: str) -> Mapping[str, Tensor]:
    """Read a state dict from a file, memory-mapped where its format allows.

    Raises:
        UserError: there is no such file, it is no plain state dict, or has numbers that are not finite.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"trunk.weights={path} is not there.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"trunk.weights={path} is not a plain state dict; it was read with weights_only and nothing in it was run. "
            "Save it again with torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) and _is_dense(value) for key, value in state.items()):
        raise UserError(f"trunk.weights={path} is not a plain state dict: a mapping of names to dense tensors is needed.")
    if wrong := [key for key, value in state.items() if not value.isfinite().all()]:
        raise UserError(f"trunk.weights={path} has numbers that are not finite, in {listed(wrong, 3)}; take other weights.")
    return state


def _is_dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _torchvision_weights(name: str, weights: str) -> models.WeightsEnum:
    known = models.get_model_weights(name)
    member = "DEFAULT" if weights == "default" else weights
    if member not in known.__members__:
        allowed = ["default", *known.__members__, "null", "the path of a state dict"]
        raise not_allowed("trunk.weights", weights, allowed)
    return known[member]


def _fit(name: str, weights: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the part of `state` that the network takes; everything it needs must be there in the right shape."""
    with torch.device("meta"):
        expected = {k: v.shape for k, v in models.get_model(name, weights=None).state_dict().items() if k[:3] != "fc."}
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    further = [key for key in state if key not in expected and not key.startswith("fc.")]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if key in state and state[key].shape != shape
    ]
    if missing or further or shapes:
        problems = [("missing", missing), ("not of this network", further), ("of another shape", shapes)]
        raise UserError(
            f"trunk.weights={weights} does not fit {name}: "
            + "; ".join(f"{len(keys)} {what}: {listed(keys, 3)}" for what, keys in problems if keys)
        )
    return {key: state.get(key, torch.tensor(0)) for key in expected}
