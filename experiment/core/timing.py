"""Cost of a fold: seconds and images of each named stage, and peak memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

MIB = 2**20


@dataclass
class Stages:
    """Record of `stage` blocks. The time of an inner stage does not count for the outer one."""

    seconds: dict[str, float] = field(default_factory=dict)  # per stage
    # seconds of training steps in the ``model``, and of waiting for the ``loader`` between them
    steps: dict[str, float] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)  # number of images per stage
    inner: float = 0.0  # seconds of stages inside the current one

    def summary(self) -> dict[str, Any]:
        """Return the record and peak memory as plain values; see `experiment.core.cost`."""
        return {
            "stages": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "images": {name: count for name, count in self.images.items() if count},
            "steps": {name: round(seconds, 3) for name, seconds in self.steps.items()},
            **peak_memory(),
        }


_current: ContextVar[Stages | None] = ContextVar("stages", default=None)


@contextmanager
def recording() -> Iterator[Stages]:
    """Record the stages of this block."""
    stages = Stages()
    token = _current.set(stages)
    try:
        yield stages
    finally:
        _current.reset(token)


@contextmanager
def stage(name: str, images: int = 0) -> Iterator[None]:
    """Count this block as a stage of the current `recording`, if there is one."""
    stages = _current.get()
    if stages is None:
        yield
        return
    outside, stages.inner, started = stages.inner, 0.0, time.perf_counter()
    try:
        yield
    finally:
        elapsed = time.perf_counter() - started
        stages.seconds[name] = stages.seconds.get(name, 0.0) + elapsed - stages.inner
        stages.images[name] = stages.images.get(name, 0) + images
        stages.inner = outside + elapsed


def record_step(step: str, seconds: float) -> None:
    """Add seconds to a training step of the current `recording`, if there is one."""
    if (stages := _current.get()) is not None:
        stages.steps[step] = stages.steps.get(step, 0.0) + seconds


def peak_memory() -> dict[str, float]:
    """Return the peak resident memory of this process and, with a GPU, its peak allocation there, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB elsewhere
    peak: dict[str, float] = {"peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB)}
    if torch.cuda.is_available():
        peak["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / MIB)
    return peak
