"""Metrics of out-of-fold tables, as scikit-learn defines them. An undefined metric is NaN, never 0."""

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
"""Printed names of metrics, by their stored names."""


def score(target: NDArray[np.int64], p: NDArray[np.float64], positive: int) -> dict[str, float]:
    """Compute all metrics of one set of predictions.

    The largest probability decides. With more than two classes AUROC and AUPRC are macro averages of one class against the
    rest, and sensitivity, specificity and F1 are those of `positive` against the rest. Brier is the mean over rows of the
    squared error summed over classes, halved for two classes (then it equals the usual one of the positive class).

    Args:
        target: class indices, (N,).
        p: probabilities, (N, K).
        positive: index of the positive class.

    >>> metrics = score(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]), positive=1)
    >>> metrics["accuracy"], metrics["sensitivity"], metrics["specificity"], metrics["auroc"]
    (0.75, 1.0, 0.5, 1.0)
    """
    values = scores(target, p, positive, np.ones((1, len(target))))
    return {name: float(values[name][0]) for name in METRICS}


def summarise(
    table: pd.DataFrame, classes: Sequence[str], positive: str, by_fold: Sequence[Mapping[str, float]] | None = None
) -> dict[str, dict[str, Any]]:
    """Compute all metrics of an out-of-fold table; those of the folds in order may have been computed before (`by_fold`).

    Returns:
        Per metric: ``value`` over all rows (mean over repeats), ``folds`` (one value per fold), their ``mean`` and sample
        standard deviation ``sd`` (NaN for a single fold).
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
    """Compute all metrics of one fold's predictions per ``part``: choices may be made on ``val``, never on ``test``."""
    by_part = {}
    for part, rows in table.groupby("part"):
        target = samples.select(rows["sample_id"].tolist())["target"].to_numpy(dtype=np.int64)
        by_part[str(part)] = score(target, probabilities(rows, samples.classes), samples.positive_index)
    return by_part
