"""The results of a job: scores per model, and the report on all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.core.cost import Cost
from experiment.store.runs import Run


@dataclass(frozen=True)
class Result:
    """The cross-validation of one model, complete or in part.

    Attributes:
        title: the model's name in tables.
        run: its folder.
        done: number of finished folds.
        folds: number of all folds.
        scores: metrics as `experiment.metrics.scores.summarise` gives them, over the finished folds.
        cost: see `experiment.core.cost.cost`.
    """

    title: str
    run: Run
    done: int
    folds: int
    scores: Mapping[str, Mapping[str, Any]]
    cost: Cost

    @property
    def complete(self) -> bool:
        """Whether every fold is finished."""
        return self.done == self.folds


@dataclass(frozen=True)
class Published:
    """The report of a complete job.

    Attributes:
        page: its file.
        headline: its first sentences: the best model, how sure that is, and whether it beats the next.
    """

    page: Path
    headline: Sequence[str]

    @classmethod
    def load(cls, run: Run) -> "Published":
        """Return the report in a run's folder."""
        headline = json.loads((run.path / "evidence.json").read_text())["headline"]
        return cls(run.path / "report.html", headline)
