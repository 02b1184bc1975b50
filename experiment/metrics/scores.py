"""Metrics of out-of-fold tables, as scikit-learn defines them. Undefined is NaN, never 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.tables import SampleTable
from experiment.metrics.out_of_fold import probabilities
from experiment.metrics.weighted import scores

METRICS: dict[str, str] = {
    "balanced_accuracy": "BalAcc",
    "accuracy": "Acc",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sens",
    "specificity": "Spec",
    "f1": "F1",
    "mcc": "MCC",
    "brier": "Brier",
}
"""Metric names as stored, and as printed."""


def score(target: NDArray[np.int64], p: NDArray[np.float64], positive: int) -> dict[str, float]:
    """All metrics of one set of predictions.

    Classes are decided by the largest probability. With more than two classes AUROC and AUPRC are macro averages of one
    against the rest, and sensitivity, specificity and F1 take `positive` against the rest. Brier is the mean over rows
    of the squared error summed over classes, halved for two classes (so that it is the usual one of the positive class).

    Args:
        target: class indices, shape (N,).
        p: probabilities, shape (N, K).
        positive: index of the positive class.
    """
    found = scores(target, p, positive, np.ones((1, len(target))))
    return {name: float(found[name][0]) for name in METRICS}


def summarise(
    table: pd.DataFrame, classes: Sequence[str], positive: str, by_fold: Sequence[Mapping[str, float]] | None = None
) -> dict[str, dict[str, Any]]:
    """Every metric of an out-of-fold table.

    Args:
        table: see `experiment.metrics.out_of_fold.out_of_fold`.
        classes: K.
        positive: one of them.
        by_fold: metrics of each fold in order, where they are known already.

    Returns:
        For each metric: ``value`` over all rows (the mean over repeats where there are several), ``folds`` (one value a
        fold), their ``mean`` and sample standard deviation ``sd`` (NaN for a single fold).
    """
    index = {name: number for number, name in enumerate(classes)}

    def scored(rows: pd.DataFrame) -> dict[str, float]:
        return score(rows["target"].map(index).to_numpy().astype(np.int64), probabilities(rows, classes), index[positive])

    repeats = pd.DataFrame([scored(rows) for _, rows in table.groupby("repeat")])
    folds = pd.DataFrame(by_fold or [scored(rows) for _, rows in table.groupby(["repeat", "fold"])])
    return {
        name: {
            "value": float(repeats[name].mean(skipna=False)),
            "folds": folds[name].tolist(),
            "mean": float(folds[name].mean(skipna=False)),
            "sd": float(folds[name].std(ddof=1, skipna=False)),
        }
        for name in METRICS
    }


def scores_by_part(table: pd.DataFrame, samples: SampleTable) -> dict[str, dict[str, float]]:
    """All metrics of one fold's predictions, for each ``part`` in the table: ``val`` may be chosen on, ``test`` may not."""
    found = {}
    for part, rows in table.groupby("part"):
        target = samples.select(rows["sample_id"].tolist())["target"].to_numpy(dtype=np.int64)
        found[str(part)] = score(target, probabilities(rows, samples.classes), samples.positive_index)
    return found
