"""Racing over folds: a trial whose first folds make it hopeless against the best one is given up."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t as student

Folds = Mapping[str, float]
"""Fold name to objective, larger is better."""


def chance_to_win(trial: Folds, others: Sequence[Folds], folds: int) -> float:
    """How likely a trial ends above the best of the others, once all its folds are there.

    The quantity of interest is the mean over these k folds, not over all possible ones: of the mean difference to the best,
    only the part of the k - m missing folds is uncertain. With differences d of m finished folds and their standard deviation
    s between folds, the final mean difference lies about mean(d) with variance s² (1/m - 1/k) (sampling from a finite
    population; Cochran 1977, §2.5). s cannot be told from few folds of one trial, so others serve: the median of their
    differences to the best, over all folds, of the better half of them. What is asked is how a trial that is about as good as
    the best would look, and bad ones differ from it by more. Comparing folds in pairs is what makes a race short: folds differ
    more than trials do (F-race, Birattari et al. 2002; cross-validated model selection by racing, Maron & Moore 1994).

    Args:
        trial: folds that are finished, at least one.
        others: trials with all their folds.
        folds: k.

    Returns:
        1 where fewer than three others tell how much differences vary, and 0 or 1 when no fold is missing.
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
