"""Paired tests of whether one model is better than another on the same images, with patients as the unit."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiment.metrics.bootstrap import in_chunks
from experiment.metrics.weighted import decision_scores, ranking_scores

Floats = NDArray[np.float64]


def permutation_test(
    target: NDArray[np.int64],
    first: Floats,
    second: Floats,
    positive: int,
    patient: NDArray[np.intp],
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Compute two-sided p-values of the difference in every metric, by swapping the two models within whole patients.

    If the models are equally good, it does not matter which of them predicted a patient: the observed difference is compared
    with the differences after random swaps (Good 2005, section 3.7). Models may use different scales, so AUROC and AUPRC swap
    ranks within each model (Venkatraman & Begg 1996). With few patients all swaps are enumerated, and the test is exact.

    Args:
        target: class indices, (N,).
        first: probabilities of the first model per repeat, (R, N, K); differences are averaged over repeats.
        second: probabilities of the second model, likewise.
        positive: index of the positive class.
        patient: index of each row's patient, (N,), from 0.
        permutations: number of random swaps.
        seed: of the swaps.

    Returns:
        p-value per metric; NaN where the metric is undefined.
    """
    swapped = _swaps(int(patient.max()) + 1, permutations, seed)
    both = np.r_[target, target]
    # After a swap each model is a choice among the predictions of both: weights 0 and 1 on 2N rows.
    stacked = [np.r_[a, b] for a, b in zip(first, second, strict=True)]
    ranks = [np.r_[stats.rankdata(a, axis=0), stats.rankdata(b, axis=0)] for a, b in zip(first, second, strict=True)]

    def differences(swap: NDArray[np.bool_]) -> dict[str, Floats]:
        by_row = swap[:, patient]
        one = np.concatenate([~by_row, by_row], axis=1).astype(np.float64)
        out: dict[str, Floats] = {}
        for scores, tables in ((decision_scores, stacked), (ranking_scores, ranks)):
            for table in tables:
                a, b = scores(both, table, positive, one), scores(both, table, positive, 1 - one)
                out |= {name: out.get(name, 0.0) + (a[name] - b[name]) / len(tables) for name in a}
        return out

    observed = differences(np.zeros((1, swapped.shape[1]), dtype=bool))
    permuted = in_chunks(differences, swapped, 2 * len(target))
    exact = 2 ** swapped.shape[1] == len(swapped)
    return {name: _p_value(float(observed[name][0]), permuted[name], exact) for name in observed}


def _swaps(patients: int, permutations: int, seed: int) -> NDArray[np.bool_]:
    """Return whether each patient is swapped, (B, G): all 2^G combinations if they are no more than `permutations`."""
    if 2**patients <= permutations:
        return np.array(list(product([False, True], repeat=patients)))
    return np.random.default_rng(seed).random((permutations, patients)) < 0.5


def _p_value(observed: float, permuted: Floats, exact: bool) -> float:
    if not np.isfinite(observed) or not np.isfinite(permuted).all():
        return float("nan")
    extreme = int(np.sum(np.abs(permuted) >= abs(observed) - 1e-12))
    return extreme / len(permuted) if exact else (extreme + 1) / (len(permuted) + 1)  # Phipson & Smyth 2010


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> float:
    """Compute the exact two-sided p-value that two models are equally often right, for independent images (McNemar 1947)."""
    only_first, only_second = int(np.sum(first_right & ~second_right)), int(np.sum(second_right & ~first_right))
    return float(stats.binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


def delong(
    is_class: NDArray[np.bool_], score: Floats, cluster: NDArray[np.intp] | None = None
) -> tuple[Floats, NDArray[np.float64]]:
    """Compute the AUROCs of M models on the same rows and their covariance (DeLong et al. 1988; clusters: Obuchowski 1997).

    Args:
        is_class: whether each row is of the class, (N,).
        score: (N, M), higher for the class.
        cluster: index of each row's patient, (N,); None treats rows as independent.

    Returns:
        AUROCs (M,), covariance (M, M).
    """
    inside, outside = score[is_class], score[~is_class]
    m, n = len(inside), len(outside)
    if m < 2 or n < 2:
        return np.full(score.shape[1], np.nan), np.full((score.shape[1],) * 2, np.nan)
    # Structural components by midranks (Sun & Xu 2014): share of the other class that each row is ranked correctly against.
    midrank = stats.rankdata(score, axis=0)
    v10 = (midrank[is_class] - stats.rankdata(inside, axis=0)) / n
    v01 = 1 - (midrank[~is_class] - stats.rankdata(outside, axis=0)) / m
    area = v10.mean(axis=0)
    if cluster is None:
        return area, np.atleast_2d(np.cov(v10.T)) / m + np.atleast_2d(np.cov(v01.T)) / n
    count = int(cluster.max()) + 1
    by_inside, by_outside = np.zeros((count, len(area))), np.zeros((count, len(area)))
    np.add.at(by_inside, cluster[is_class], v10 - area)
    np.add.at(by_outside, cluster[~is_class], v01 - area)
    with_inside, with_outside = len(set(cluster[is_class])), len(set(cluster[~is_class]))
    s10 = by_inside.T @ by_inside * with_inside / (max(with_inside - 1, 1) * m)
    s01 = by_outside.T @ by_outside * with_outside / (max(with_outside - 1, 1) * n)
    s11 = by_inside.T @ by_outside * count / max(count - 1, 1)
    return area, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def delong_test(is_class: NDArray[np.bool_], score: Floats, cluster: NDArray[np.intp] | None = None) -> float:
    """Compute the two-sided p-value that two models, `score` (N, 2), have the same AUROC."""
    area, covariance = delong(is_class, score, cluster)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if not variance > 1e-16:
        return 1.0 if area[0] == area[1] else float("nan")
    return float(2 * stats.norm.sf(abs(area[0] - area[1]) / np.sqrt(variance)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979); NaN stays NaN and does not count.

    >>> holm([0.01, 0.04, float("nan")])
    [0.02, 0.04, nan]
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in adjusted]


def detectable_difference(standard_error: float, power: float = 0.8, level: float = 0.05) -> float:
    """Compute the smallest true difference that a two-sided test at `level` detects with probability `power`."""
    return float((stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power)) * standard_error)
