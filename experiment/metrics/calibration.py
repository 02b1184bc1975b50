"""Do the probabilities mean what they say? Reliability, expected calibration error, Brier decomposition, calibration slope."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

Floats = NDArray[np.float64]
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Rows by bins of predicted probability.

    Attributes:
        predicted: mean probability of each bin that holds rows, (U,).
        observed: share of the class in it, (U,).
        count: rows in it, (U,).
    """

    predicted: Floats
    observed: Floats
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean distance of predicted and observed, weighted by rows."""
        return float(np.sum(self.count * np.abs(self.predicted - self.observed)) / self.count.sum())


def reliability(is_class: NDArray[np.bool_], p: Floats, bins: int = BINS) -> Reliability:
    """Bins of equal width over [0, 1]: (N,), (N,)."""
    bin_of = np.minimum((p * bins).astype(np.intp), bins - 1)
    used, member, count = np.unique(bin_of, return_inverse=True, return_counts=True)
    means = [np.bincount(member, weights=values, minlength=len(used)) / count for values in (p, is_class.astype(np.float64))]
    return Reliability(means[0], means[1], count.astype(np.int64))


def brier_decomposition(is_class: NDArray[np.bool_], p: Floats, bins: int = BINS) -> dict[str, float]:
    """Brier score = reliability - resolution + uncertainty + rest (Murphy 1973; rest within bins: Stephenson et al. 2008).

    Low reliability means calibrated, high resolution means informative; uncertainty belongs to the cohort.
    """
    found = reliability(is_class, p, bins)
    share, base = found.count / found.count.sum(), float(is_class.mean())
    score = float(np.mean((p - is_class) ** 2))
    parts = {
        "reliability": float(np.sum(share * (found.predicted - found.observed) ** 2)),
        "resolution": float(np.sum(share * (found.observed - base) ** 2)),
        "uncertainty": base * (1 - base),
    }
    rest = score - (parts["reliability"] - parts["resolution"] + parts["uncertainty"])
    return {"brier": score, **parts, "within_bins": rest}


def slope_and_intercept(is_class: NDArray[np.bool_], p: Floats) -> tuple[float, float]:
    """Calibration slope and calibration-in-the-large (Cox 1958; Van Calster et al. 2016).

    The slope is that of a logistic regression of the class on logit(p): 1 is ideal, below 1 is too extreme. The intercept is
    that of the same regression with the slope held at 1: 0 is ideal, above 0 is too low. NaN if a class is missing.
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
