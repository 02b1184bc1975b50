"""The metrics of `experiment.metrics.scores` for many sets of row weights at once.

A bootstrap resample is a set of counts, and a permutation of two models a choice of rows: both are weights. The rows are
sorted once, and every resample is then a few cumulative sums and matrix products.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 100_000  # weights that are ordered and summed at a time: they stay in the processor's cache


def scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """Every metric of `experiment.metrics.scores.METRICS` for each set of weights; undefined is NaN.

    Args:
        target: class indices, (N,).
        p: probabilities, (N, K).
        positive: index of the positive class.
        weight: not negative, (B, N).

    Returns:
        Metric name to (B,).
    """
    return {**decision_scores(target, p, positive, weight), **ranking_scores(target, p, positive, weight)}


def decision_scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """The metrics that decisions and probabilities decide; arguments as for `scores`."""
    k = p.shape[1]
    squared = np.square(p - np.eye(k)[target]).sum(axis=1) / (2 if k == 2 else 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        confused = _confusion(target, p.argmax(axis=1), k, weight)
        return {**_of_confusion(confused, positive), "brier": weight @ squared / weight.sum(axis=1)}


def ranking_scores(target: NDArray[np.int64], p: Floats, positive: int, weight: NDArray[np.floating]) -> dict[str, Floats]:
    """AUROC and AUPRC, which only the order of the rows within a column of `p` decides; arguments as for `scores`."""
    columns = [positive] if p.shape[1] == 2 else range(p.shape[1])
    step = max(1, BLOCK // max(len(target), 1))
    areas: dict[str, list[Floats]] = {"auroc": [], "auprc": []}
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, len(weight), step):
            by_threshold = [_by_threshold(target == c, p[:, c], weight[start : start + step]) for c in columns]
            for name, area in (("auroc", _area_under_roc), ("auprc", _average_precision)):
                areas[name].append(np.mean([area(*weights) for weights in by_threshold], axis=0))
    return {name: np.concatenate(blocks) for name, blocks in areas.items()}


def _confusion(target: NDArray[np.int64], decided: NDArray[np.int64], k: int, weight: NDArray[np.floating]) -> Floats:
    """(B, K, K): weight of the rows of class i decided as j."""
    cells = np.eye(k * k)[target * k + decided]
    return np.asarray(weight @ cells, dtype=np.float64).reshape(-1, k, k)


def _of_confusion(confused: Floats, positive: int) -> dict[str, Floats]:
    hits, truth, said = confused.diagonal(axis1=1, axis2=2), confused.sum(axis=2), confused.sum(axis=1)
    total = truth.sum(axis=1)
    tp, actual, claimed = hits[:, positive], truth[:, positive], said[:, positive]
    covariance = hits.sum(axis=1) * total - (truth * said).sum(axis=1)
    spread = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (said**2).sum(axis=1))
    complete = (truth > 0).all(axis=1)
    # scikit-learn calls the correlation of a constant decision 0
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
    """Weight of rows in and outside the class at each distinct score, from the highest down: two times (B, U)."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = np.take(np.asarray(weight, dtype=np.float64), order, axis=1)  # row by row in memory, unlike [:, order]
    inside = ordered * is_class[order]
    if len(starts) < len(order):  # ties
        inside, ordered = (np.add.reduceat(rows, starts, axis=1) for rows in (inside, ordered))
    return inside, ordered - inside


def auroc(is_class: NDArray[np.bool_], score: Floats, weight: NDArray[np.floating]) -> Floats:
    """Area under the ROC curve, ties counted half (Mann & Whitney 1947): (N,), (N,), (B, N) to (B,)."""
    return _area_under_roc(*_by_threshold(is_class, score, weight))


def _area_under_roc(inside: Floats, outside: Floats) -> Floats:
    below = outside.sum(axis=1, keepdims=True) - np.cumsum(outside, axis=1)
    area: Floats = (inside * (below + outside / 2)).sum(axis=1) / (inside.sum(axis=1) * outside.sum(axis=1))
    return area


def auprc(is_class: NDArray[np.bool_], score: Floats, weight: NDArray[np.floating]) -> Floats:
    """Average precision, as scikit-learn defines it: (N,), (N,), (B, N) to (B,)."""
    return _average_precision(*_by_threshold(is_class, score, weight))


def _average_precision(inside: Floats, outside: Floats) -> Floats:
    found, said = np.cumsum(inside, axis=1), np.cumsum(inside + outside, axis=1)
    precision = np.divide(found, said, out=np.zeros_like(found), where=said > 0)
    area: Floats = (precision * inside).sum(axis=1) / found[:, -1]
    # as elsewhere, a set of rows in which a class is missing has no value
    return np.where(said[:, -1] > found[:, -1], area, np.nan)
