"""Objectives of a sweep: a metric on the val or test rows, or the seconds per fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiment.core.errors import UserError, not_allowed
from experiment.core.tables import MARKER, FinishedFold
from experiment.metrics.scores import METRICS

SECONDS = "seconds"
SCORED_PARTS = ("val", "test")
SMALLER_IS_BETTER = ("brier", SECONDS)


@dataclass(frozen=True)
class Objective:
    """Number per fold that a sweep optimises, averaged over folds.

    Raises:
        UserError: the name is none of these.
    """

    name: str  # ``val/<metric>``, ``test/<metric>`` or ``seconds``, as in the config

    def __post_init__(self) -> None:
        allowed = [f"{part}/{metric}" for part in SCORED_PARTS for metric in METRICS]
        if self.name not in (*allowed, SECONDS):
            raise not_allowed("objective", self.name, [*allowed, SECONDS])

    @property
    def larger_is_better(self) -> bool:
        """Whether the objective is maximised."""
        return self.name.split("/")[-1] not in SMALLER_IS_BETTER

    @property
    def unseen(self) -> "Objective | None":
        """The same metric on the test rows, if this one is chosen by on val rows."""
        part, _, metric = self.name.partition("/")
        return Objective(f"test/{metric}") if part == "val" else None

    def of_fold(self, fold: FinishedFold) -> float:
        """Return the objective of one finished fold; NaN if its part has too few rows to define the metric.

        ``seconds`` includes the networks that a model is built on, even if another job trained them.
        """
        if self.name == SECONDS:
            return _seconds(fold)
        part, metric = self.name.split("/")
        return float(fold.marker.get("scores", {}).get(part, {}).get(metric, float("nan")))


def objectives(named: str | Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives of a config.

    Raises:
        UserError: a name is unknown, or there is none.
    """
    names = [named] if isinstance(named, str) else list(named)
    if not names:
        raise UserError("objective=[] names nothing to optimise; take objective=val/balanced_accuracy, for example.")
    return tuple(Objective(name) for name in names)


def named_values(named: str | Sequence[str], run: Path) -> dict[str, float]:
    """Return the objectives of a run by name: means over its finished folds, NaN where undefined."""
    folds = [FinishedFold(marker.parent) for marker in run.glob(f"repeat-*/fold-*/{MARKER}")]
    return {aim.name: float(np.mean([aim.of_fold(fold) for fold in folds])) for aim in objectives(named)}


def of_run(named: str | Sequence[str], run: Path) -> float | list[float] | None:
    """Return the objectives of a run as a sweeper expects them: one number, or a list. None if one is undefined."""
    values = list(named_values(named, run).values())
    if not np.isfinite(values).all():
        return None
    return values[0] if isinstance(named, str) else values


def _seconds(fold: FinishedFold) -> float:
    """Return the seconds of this fold and of all folds that it is built on."""
    root: Path = fold.path.parents[2]  # <root>/<run>/repeat-0/fold-0
    marker = fold.marker
    return float(marker["seconds"]) + sum(_seconds(FinishedFold(root / path)) for path in marker["inputs"].values())
