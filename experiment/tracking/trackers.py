"""Where curves and results are shown: W&B, CSV files, or nowhere. One tracked run a fold and one summary a run.

A tracker only looks on: nothing it does or fails to do changes a result.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

from experiment.core.cost import Cost

Scores = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Summary:
    """A complete run, as a tracker shows it.

    Attributes:
        run: its folder.
        config: the resolved config.
        scores: metric to value, low, high, mean, sd (content of ``metrics.json``).
        evidence: calibration, operating points and curves of the model (a model of `experiment.metrics.evidence.evidence`).
        pairs: its comparisons with the job's other models.
        oof: the out-of-fold table.
        cost: see `experiment.core.cost.cost`.
        objective: what a sweep goes by, by name (see `experiment.metrics.objective`).
        asked: whether this is the model that the command asked for, not one that it is built on.
        files: what belongs to the run: splits, table, report.
        picture: reads an image by sample id; raises if there is none.
    """

    run: Path
    config: Mapping[str, Any]
    scores: Scores
    evidence: Mapping[str, Any]
    pairs: Sequence[Mapping[str, Any]]
    oof: pd.DataFrame
    cost: Cost
    objective: Mapping[str, float]
    asked: bool
    files: Sequence[Path]
    picture: Callable[[str], NDArray[np.uint8]]


class Tracker(Protocol):
    """What the engine tells of its work."""

    name: str | None
    """By which a run remembers that this tracker was shown its summary; None shows nothing."""

    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Any:
        """Context manager around the work on one fold; yields a Lightning logger or None."""

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """Metrics of the fold's test part."""

    def summary(self, shown: Summary) -> bool:
        """A complete run; returns whether it was shown."""

    def close(self) -> str | None:
        """The end of the job; returns what the user should be told."""


class NoTracker:
    """Tracks nothing."""

    name: str | None = None

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """No logger."""
        yield None

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """Nothing."""

    def summary(self, shown: Summary) -> bool:
        """Nothing."""
        return False

    def close(self) -> str | None:
        """Nothing."""
        return None


class CSVTracker(NoTracker):
    """Curves and results as CSV files in ``csv/`` of each run's folder."""

    name: str | None = "csv"

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """A `CSVLogger` in ``csv/<fold>/``."""
        from pytorch_lightning.loggers import CSVLogger

        yield CSVLogger(save_dir=run / "csv", name="", version=split.replace("/", "-"))

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """A last row of the fold's curves."""
        if logger is not None:
            logger.log_metrics({f"test/{name}": value for name, value in scores.items()})
            logger.finalize("success")

    def summary(self, shown: Summary) -> bool:
        """``csv/summary.csv``: metric, value, low, high, mean, sd."""
        (shown.run / "csv").mkdir(exist_ok=True)
        columns = ["value", "low", "high", "mean", "sd"]
        with (shown.run / "csv" / "summary.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["metric", *columns])
            writer.writerows([name, *(s[column] for column in columns)] for name, s in shown.scores.items())
        return True
