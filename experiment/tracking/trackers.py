"""Trackers of curves and results: W&B, CSV files, or none. One tracked run per fold and one summary per run.

A tracker only observes: neither its work nor its failures change a result.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

from experiment.core.cost import Cost

Scores = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Summary:
    """Results of a complete run for a tracker."""

    run: Path  # folder of the run
    config: Mapping[str, Any]  # resolved config
    scores: Scores  # value, low, high, mean and sd by metric (content of ``metrics.json``)
    # calibration, operating points and curves of the model (one of `experiment.metrics.evidence.evidence`)
    evidence: Mapping[str, Any]
    pairs: Sequence[Mapping[str, Any]]  # comparisons with the job's other models
    oof: pd.DataFrame  # out-of-fold table
    cost: Cost  # see `experiment.core.cost.cost`
    objective: Mapping[str, float]  # objectives of a sweep by name (see `experiment.metrics.objective`)
    asked: bool  # whether this is the main model of the command, not one that it is built on
    files: Sequence[Path]  # splits, table and report of the run
    picture: Callable[[str], NDArray[np.uint8]]  # reads an image by sample id; raises if it cannot


class Tracker:
    """Interface through which the engine reports its work; this one tracks nothing."""

    name: str | None = None  # under which a run records that this tracker has its summary; None for no tracking

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """Yield a Lightning logger, or None, for the work on one fold."""
        yield None

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """Log the metrics of the fold's test part."""

    def summary(self, summary: Summary) -> bool:
        """Log a complete run; return whether it was logged."""
        return False

    def close(self) -> str | None:
        """End the job; return a message for the user, if any."""
        return None


class CSVTracker(Tracker):
    """Tracker that writes CSV files into ``csv/`` of each run's folder."""

    name: str | None = "csv"

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """Yield a `CSVLogger` in ``csv/<fold>/``."""
        from pytorch_lightning.loggers import CSVLogger

        yield CSVLogger(save_dir=run / "csv", name="", version=split.replace("/", "-"))

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """Append the scores as the last row of the fold's curves."""
        if logger is not None:
            logger.log_metrics({f"test/{name}": value for name, value in scores.items()})
            logger.finalize("success")

    def summary(self, summary: Summary) -> bool:
        """Write ``csv/summary.csv``: metric, value, low, high, mean, sd."""
        (summary.run / "csv").mkdir(exist_ok=True)
        columns = ["value", "low", "high", "mean", "sd"]
        with (summary.run / "csv" / "summary.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["metric", *columns])
            writer.writerows([name, *(s[column] for column in columns)] for name, s in summary.scores.items())
        return True
