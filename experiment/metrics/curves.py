"""What a reader may want at another threshold: operating points and the decision curve."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def at_specificity(is_class: NDArray[np.bool_], p: Floats, specificity: float) -> float:
    """The highest sensitivity that any threshold reaches with at least this specificity; NaN if a class is missing."""
    return _best(is_class, p, specificity, given="specificity")


def at_sensitivity(is_class: NDArray[np.bool_], p: Floats, sensitivity: float) -> float:
    """The highest specificity that any threshold reaches with at least this sensitivity; NaN if a class is missing."""
    return _best(is_class, p, sensitivity, given="sensitivity")


def _best(is_class: NDArray[np.bool_], p: Floats, least: float, given: str) -> float:
    if is_class.all() or not is_class.any():
        return float("nan")
    from sklearn.metrics import roc_curve

    false_positive, sensitivity, _ = roc_curve(is_class, p, drop_intermediate=False)
    specificity = 1 - false_positive
    held, wanted = (specificity, sensitivity) if given == "specificity" else (sensitivity, specificity)
    return float(wanted[held >= least - 1e-12].max())


def net_benefit(is_class: NDArray[np.bool_], p: Floats, thresholds: Sequence[float] | Floats) -> Floats:
    """Decision curve (Vickers & Elkin 2006): true positives less the false ones at the odds of the threshold, a row.

    Args:
        is_class: (N,).
        p: (N,).
        thresholds: probabilities (T,), below 1, from which on one acts.

    Returns:
        (T,).
    """
    odds = np.asarray(thresholds) / (1 - np.asarray(thresholds))
    acts = p[None, :] >= np.asarray(thresholds)[:, None]
    benefit: Floats = (acts & is_class).mean(axis=1) - (acts & ~is_class).mean(axis=1) * odds
    return benefit


def treat_all(is_class: NDArray[np.bool_], thresholds: Sequence[float] | Floats) -> Floats:
    """The decision curve of acting on everyone; that of acting on no one is 0."""
    return net_benefit(is_class, np.ones(len(is_class)), thresholds)
