"""The results of a job: scores per model."""

from collections.abc import Mapping
from dataclasses import dataclass
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
