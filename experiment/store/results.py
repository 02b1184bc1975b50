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
    """The cross-validation of one model, complete or in part."""

    title: str  # the model's name in tables
    run: Run  # its folder
    done: int  # number of finished folds
    folds: int  # number of all folds
    # metrics as `experiment.metrics.scores.summarise` gives them, over the finished folds
    scores: Mapping[str, Mapping[str, Any]]
    cost: Cost  # see `experiment.core.cost.cost`

    @property
    def complete(self) -> bool:
        """Whether every fold is finished."""
        return self.done == self.folds


@dataclass(frozen=True)
class Published:
    """The report of a complete job."""

    page: Path  # its file
    headline: Sequence[str]  # its first sentences: the best model, how sure that is, and whether it beats the next

    @classmethod
    def load(cls, run: Run) -> "Published":
        """Return the report in a run's folder."""
        headline = json.loads((run.path / "evidence.json").read_text())["headline"]
        return cls(run.path / "report.html", headline)
