"""Trackers of curves and results: a tracked run per fold, and one with the summary of each cross-validation.

A tracker only observes: neither its work nor its failures change a result.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

    from experiment.tracking.summary import Summary

log = logging.getLogger(__name__)
LONGEST = 120  # characters of a name: file systems take 255 bytes


@dataclass(frozen=True)
class Tracked:
    """A cross-validation of one model as trackers show it."""

    run: Path  # folder of the run
    title: str  # the model's name in tables
    config: Mapping[str, Any]  # resolved config, with the number and the digest of the images
    settings: str = ""  # what differs from the default config: ``C=1 trunk=resnet34``
    sweep: Path | None = None  # folder of the sweep that the job is a trial of

    @property
    def name(self) -> str:
        """Name that says the model and what differs from the default config; a part of a path, too."""
        name = f"{self.title} {self.settings}".strip().replace("/", "-")
        return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


class Tracker:
    """Interface of a tracker; this one tracks nothing."""

    name: str = "none"  # under which a run records that this tracker has its summary

    def fold(self, tracked: Tracked, split: str) -> "AbstractContextManager[Logger | None]":
        """Return a context that gives a Lightning logger, or None, for the work on one fold."""
        return nullcontext()

    def summary(self, summary: "Summary") -> bool:
        """Log a complete run; return whether it was logged."""
        return False

    def stopped(self, tracked: Tracked, numbers: Mapping[str, float]) -> bool:
        """Log a trial that a race stopped, with its objective so far; return whether it was logged."""
        return False

    def note(self, tracked: Sequence[Tracked]) -> str | None:
        """Return what the user must know at the end of a job, if anything."""
        return None


@dataclass(frozen=True)
class Trackers:
    """All trackers of a job.

    Args:
        members: trackers.
        folds: whether folds are tracked, and the models that the command's model is built on. ``auto``: not in trials of a
            sweep, so that a table of them has one row per trial.
    """

    members: Sequence[Tracker] = ()
    folds: bool | Literal["auto"] = "auto"

    def all_of(self, tracked: Tracked) -> bool:
        """Return whether more than the summary of the command's model is tracked."""
        return tracked.sweep is None if self.folds == "auto" else self.folds

    @contextmanager
    def fold(self, tracked: Tracked, split: str) -> "Iterator[list[Logger]]":
        """Yield the Lightning loggers for the work on one fold."""
        with ExitStack() as stack:
            members = self.members if self.all_of(tracked) else ()
            loggers = [stack.enter_context(member.fold(tracked, split)) for member in members]
            yield [logger for logger in loggers if logger is not None]


@contextmanager
def warn_only(tracker: str, what: str) -> Iterator[None]:
    """Turn any error into a warning: a tracker must never stop the work."""
    try:
        yield
    except Exception as error:
        log.warning("%s %s (%s); the work goes on.", tracker, what, " ".join(str(error).split()))
