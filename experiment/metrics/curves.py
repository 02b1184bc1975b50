"""Results at other thresholds: operating points and the decision curve."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def best_rate(is_class: NDArray[np.bool_], p: Floats, bounded: str, least: float) -> float:
    """Return the highest sensitivity where specificity, the `bounded` rate, is at least `least`; or the other way round.

    All thresholds on `p` (N,) are compared; NaN if a class of `is_class` (N,) is missing.
    """
    if is_class.all() or not is_class.any():
        return float("nan")
    from sklearn.metrics import roc_curve

    false_positive, sensitivity, _ = roc_curve(is_class, p, drop_intermediate=False)
    specificity = 1 - false_positive
    bound, rate = (specificity, sensitivity) if bounded == "specificity" else (sensitivity, specificity)
    return float(rate[bound >= least - 1e-12].max())


def net_benefit(is_class: NDArray[np.bool_], p: Floats, thresholds: Sequence[float] | Floats) -> Floats:
    """Compute the decision curve: true positives per row minus false ones weighted by the threshold's odds.

    Source: Vickers & Elkin 2006. The curve of acting on every row is that of `p` = 1; that of acting on none is 0.

    Args:
        is_class: whether each row is of the class, (N,).
        p: probability of the class, (N,).
        thresholds: probabilities (T,), below 1, at or above which one acts.

    Returns:
        Net benefit at each threshold, (T,).
    """
    odds = np.asarray(thresholds) / (1 - np.asarray(thresholds))
    acts = p[None, :] >= np.asarray(thresholds)[:, None]
    benefit: Floats = (acts & is_class).mean(axis=1) - (acts & ~is_class).mean(axis=1) * odds
    return benefit
