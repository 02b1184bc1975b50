"""The state of all random number generators, as values that load without executing anything."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


def random_states() -> list[dict[str, Any]]:
    """Of torch, CUDA, NumPy and Python; of each process where several fit one model together."""
    own = _random_state()
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    states: list[dict[str, Any]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(states, own)
    return states


def set_random_state(states: Sequence[Mapping[str, Any]], rank: int) -> None:
    """Put the generators of this process into the state of `rank`."""
    state = states[rank % len(states)]
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():  # a fold may go on on another machine
        torch.cuda.set_rng_state_all([device.cpu() for device in state["cuda"]])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])


def _random_state() -> dict[str, Any]:
    # Nothing here draws from NumPy's global generator, but the libraries may.
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "python": random.getstate(),
    }
