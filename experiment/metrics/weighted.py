"""Metrics of `experiment.metrics.scores` for many sets of row weights at once.

A bootstrap resample is a set of counts, and a swap of two models is a choice of rows: both are row weights. The rows are
sorted once; each resample then costs a few cumulative sums and matrix products.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 100_000  # weights per block: they stay in the processor's cache


def scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """Compute each metric of `experiment.metrics.scores.METRICS` for each set of weights; NaN where undefined.

    Args:
        target: class indices, (N,).
        p: probabilities, (N, K).
        positive: index of the positive class.
        weight: non-negative row weights, (B, N).

    Returns:
        Values (B,) by metric name.
    """
    return {**decision_scores(target, p, positive, weight), **ranking_scores(target, p, positive, weight)}


def decision_scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """Compute the metrics of decisions and of probability values; arguments as for `scores`."""
    k = p.shape[1]
    squared = np.square(p - np.eye(k)[target]).sum(axis=1) / (2 if k == 2 else 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        confused = _confusion(target, p.argmax(axis=1), k, weight)
        return {**_of_confusion(confused, positive), "brier": weight @ squared / weight.sum(axis=1)}


def ranking_scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """Compute AUROC and AUPRC, which depend only on the order of rows in each column of `p`; arguments as for `scores`."""
    columns = [positive] if p.shape[1] == 2 else range(p.shape[1])
    step = max(1, BLOCK // max(len(target), 1))
    areas: dict[str, list[Floats]] = {"auroc": [], "auprc": []}
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, len(weight), step):
            by_threshold = [_by_threshold(target == c, p[:, c], weight[start : start + step]) for c in columns]
            for name, area in (("auroc", _auroc), ("auprc", _auprc)):
                areas[name].append(np.mean([area(*weights) for weights in by_threshold], axis=0))
    return {name: np.concatenate(blocks) for name, blocks in areas.items()}


def _confusion(target: NDArray[np.int64], decided: NDArray[np.int64], k: int, weight: NDArray[np.floating]) -> Floats:
    """Return the weight of rows of class i that are decided as j, (B, K, K)."""
    cells = np.eye(k * k)[target * k + decided]
    return np.asarray(weight @ cells, dtype=np.float64).reshape(-1, k, k)


def _of_confusion(confused: Floats, positive: int) -> dict[str, Floats]:
    hits, truth, decided_as = confused.diagonal(axis1=1, axis2=2), confused.sum(axis=2), confused.sum(axis=1)
    total = truth.sum(axis=1)
    tp, actual, claimed = hits[:, positive], truth[:, positive], decided_as[:, positive]
    covariance = hits.sum(axis=1) * total - (truth * decided_as).sum(axis=1)
    spread = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (decided_as**2).sum(axis=1))
    complete = (truth > 0).all(axis=1)
    # scikit-learn defines the correlation of a constant decision as 0
    mcc = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)
    return {
        "balanced_accuracy": (hits / truth).mean(axis=1),
        "accuracy": hits.sum(axis=1) / total,
        "sensitivity": tp / actual,
        "specificity": 1 - (claimed - tp) / (total - actual),
        "f1": 2 * tp / (actual + claimed),
        "mcc": np.where(complete, mcc, np.nan),
    }


def _by_threshold(is_class: NDArray[np.bool_], score: Floats, weight: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return the weight of rows in and outside the class at each distinct score, in descending order: twice (B, U)."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = np.take(np.asarray(weight, dtype=np.float64), order, axis=1)  # rows contiguous in memory, unlike [:, order]
    inside = ordered * is_class[order]
    if len(starts) < len(order):  # ties
        inside, ordered = (np.add.reduceat(rows, starts, axis=1) for rows in (inside, ordered))
    return inside, ordered - inside


def _auroc(inside: Floats, outside: Floats) -> Floats:
    """Compute the area under the ROC curve (B,) from weights by threshold; ties count half (Mann & Whitney 1947)."""
    below = outside.sum(axis=1, keepdims=True) - np.cumsum(outside, axis=1)
    area: Floats = (inside * (below + outside / 2)).sum(axis=1) / (inside.sum(axis=1) * outside.sum(axis=1))
    return area


def _auprc(inside: Floats, outside: Floats) -> Floats:
    """Compute average precision (B,) from weights by threshold, as scikit-learn defines it."""
    true_positives, positives = np.cumsum(inside, axis=1), np.cumsum(inside + outside, axis=1)
    precision = np.divide(true_positives, positives, out=np.zeros_like(true_positives), where=positives > 0)
    area: Floats = (precision * inside).sum(axis=1) / true_positives[:, -1]
    # undefined if a class is missing, as for the other metrics
    return np.where(positives[:, -1] > true_positives[:, -1], area, np.nan)
