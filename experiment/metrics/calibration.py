"""Calibration of probabilities: reliability, expected calibration error, Brier decomposition, calibration slope."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

Floats = NDArray[np.float64]
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram: rows in bins of predicted probability, without empty bins."""

    predicted: Floats  # mean probability per bin, (U,)
    observed: Floats  # share of the class per bin, (U,)
    count: NDArray[np.int64]  # number of rows per bin, (U,)

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean of |predicted - observed|, weighted by rows."""
        return float(np.sum(self.count * np.abs(self.predicted - self.observed)) / self.count.sum())


def reliability(is_class: NDArray[np.bool_], p: Floats, bins: int = BINS) -> Reliability:
    """Bin the probabilities `p` (N,) of a class, with indicator `is_class` (N,), in bins of equal width over [0, 1]."""
    bin_of = np.minimum((p * bins).astype(np.intp), bins - 1)
    used, member, count = np.unique(bin_of, return_inverse=True, return_counts=True)
    means = [np.bincount(member, weights=values, minlength=len(used)) / count for values in (p, is_class.astype(np.float64))]
    return Reliability(means[0], means[1], count.astype(np.int64))


def brier_decomposition(is_class: NDArray[np.bool_], p: Floats, bins: int = BINS) -> dict[str, float]:
    """Decompose the Brier score (N,), (N,): reliability - resolution + uncertainty + rest within bins.

    Low reliability means calibrated, high resolution means informative; uncertainty is a property of the cohort (Murphy
    1973; rest within bins: Stephenson et al. 2008).
    """
    bins_of_p = reliability(is_class, p, bins)
    share, base = bins_of_p.count / bins_of_p.count.sum(), float(is_class.mean())
    score = float(np.mean((p - is_class) ** 2))
    parts = {
        "reliability": float(np.sum(share * (bins_of_p.predicted - bins_of_p.observed) ** 2)),
        "resolution": float(np.sum(share * (bins_of_p.observed - base) ** 2)),
        "uncertainty": base * (1 - base),
    }
    rest = score - (parts["reliability"] - parts["resolution"] + parts["uncertainty"])
    return {"brier": score, **parts, "within_bins": rest}


def slope_and_intercept(is_class: NDArray[np.bool_], p: Floats) -> tuple[float, float]:
    """Compute calibration slope and calibration-in-the-large (Cox 1958; Van Calster et al. 2016).

    The slope comes from a logistic regression of the class on logit(p): 1 is ideal, below 1 the probabilities are too
    extreme. The intercept comes from the same regression with the slope fixed at 1: 0 is ideal, above 0 the probabilities are
    too low. Both are NaN if a class is missing.
    """
    if is_class.all() or not is_class.any():
        return float("nan"), float("nan")
    x = logit(np.clip(p, 1e-6, 1 - 1e-6))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] + parameters[1] * x
        residual = expit(z) - is_class
        return float(np.sum(np.logaddexp(0, z) - is_class * z)), np.array([residual.sum(), residual @ x])

    free = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-10})
    intercept = brentq(lambda a: float(np.sum(expit(a + x) - is_class)), -50, 50)
    return float(free.x[1]), float(intercept)
