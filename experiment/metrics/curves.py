"""Results at other thresholds: operating points and the decision curve."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def at_specificity(is_class: NDArray[np.bool_], p: Floats, specificity: float) -> float:
    """Return the highest sensitivity of any threshold with at least this specificity; NaN if a class is missing."""
    return _best(is_class, p, specificity, bounded="specificity")


def at_sensitivity(is_class: NDArray[np.bool_], p: Floats, sensitivity: float) -> float:
    """Return the highest specificity of any threshold with at least this sensitivity; NaN if a class is missing."""
    return _best(is_class, p, sensitivity, bounded="sensitivity")


def _best(is_class: NDArray[np.bool_], p: Floats, least: float, bounded: str) -> float:
    if is_class.all() or not is_class.any():
        return float("nan")
    from sklearn.metrics import roc_curve

    false_positive, sensitivity, _ = roc_curve(is_class, p, drop_intermediate=False)
    specificity = 1 - false_positive
    bound, rate = (specificity, sensitivity) if bounded == "specificity" else (sensitivity, specificity)
    return float(rate[bound >= least - 1e-12].max())


def net_benefit(is_class: NDArray[np.bool_], p: Floats, thresholds: Sequence[float] | Floats) -> Floats:
    """Compute the decision curve: true positives per row minus false ones weighted by the threshold's odds.

    Source: Vickers & Elkin 2006.

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


def treat_all(is_class: NDArray[np.bool_], thresholds: Sequence[float] | Floats) -> Floats:
    """Compute the decision curve of acting on every row; that of acting on none is 0."""
    return net_benefit(is_class, np.ones(len(is_class)), thresholds)
