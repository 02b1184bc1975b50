"""What a job comes to: a model's scores, and the report of all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.core.cost import Cost
from experiment.store.runs import Run


@dataclass(frozen=True)
class Result:
    """One model's cross-validation, or as much of it as is there.

    Attributes:
        title: the model's name in tables.
        run: its folder.
        done: finished folds, of `folds`.
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
    """What a complete job leaves to read.

    Attributes:
        page: the report.
        headline: its first sentences: the best model, how sure that is, and whether it beats the next.
    """

    page: Path
    headline: Sequence[str]

    @classmethod
    def beside(cls, run: Run) -> "Published":
        """The report that lies in a run's folder."""
        told = json.loads((run.path / "evidence.json").read_text())["headline"]
        return cls(run.path / "report.html", told)
