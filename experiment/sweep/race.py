"""Racing over folds: stop a trial whose first folds leave it hardly a chance against the best one."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

Folds = Mapping[str, float]
"""Objective by the name of the fold, larger is better."""


def chance_to_win(trial: Folds, others: Sequence[Folds], folds: int) -> float:
    """Compute the probability that a trial ends above the best of the others, once all its folds are finished.

    The quantity of interest is the mean over these k folds, not over all possible ones: of the mean difference to the best
    trial, only the part of the k - m missing folds is uncertain. With differences d of m finished folds and their standard
    deviation s between folds, the final mean difference is distributed around mean(d) with variance s² (1/m - 1/k) (sampling
    from a finite population; Cochran 1977, §2.5). Few folds of one trial cannot estimate s, so it comes from the better half
    of the other trials: the median, over these trials, of the standard deviation of their differences to the best. Only the
    better half, because the question is how a trial about as good as the best would look, and bad trials differ by more.
    Comparing folds in pairs is what makes a race short: folds differ more than trials do (F-race, Birattari et al. 2002;
    cross-validated model selection by racing, Maron & Moore 1994).

    Args:
        trial: finished folds, at least one.
        others: trials with all their folds.
        folds: number of folds k.

    Returns:
        The probability; 1 with fewer than three others, which cannot estimate s, and 0 or 1 if no fold is missing.
    """
    if len(others) < 3:
        return 1.0
    best, *better = sorted(others, key=_mean, reverse=True)[: len(others) // 2 + 1]
    gained = np.array([value - best[name] for name, value in trial.items()])
    spreads = [np.std([other[name] - best[name] for name in best], ddof=1) for other in better]
    m, spread = len(gained), float(np.median(spreads))
    scale = spread * np.sqrt(1 / m - 1 / folds)
    if scale == 0:
        return float(gained.mean() >= 0)
    return float(student.cdf(gained.mean() / scale, df=folds - 1))


def _mean(folds: Folds) -> float:
    return float(np.mean(list(folds.values())))
