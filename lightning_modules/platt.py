"""Platt scaling: turn decision values of machines into probabilities."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Floats = NDArray[np.float64]


def platt(decision: Floats, positive: NDArray[np.bool_], balanced: bool = False) -> tuple[float, float]:
    """Fit the sigmoid that turns decisions (N,) into probabilities (Platt 1999, with his soft targets).

    Args:
        decision: (N,).
        positive: whether the row is of the machine's class, (N,).
        balanced: give both classes the same total weight.

    Returns:
        Slope and offset: the probability is sigmoid(slope · decision + offset).
    """
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    soft = np.where(positive, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))
    even = np.where(positive, len(decision) / (2 * max(n_pos, 1)), len(decision) / (2 * max(n_neg, 1)))
    weight = even if balanced else np.ones(len(decision))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] * decision + parameters[1]
        residual = weight * (expit(z) - soft)
        value = np.sum(weight * (np.logaddexp(0, z) - soft * z))
        return float(value), np.array([np.sum(residual * decision), np.sum(residual)])

    spread = float(np.std(decision)) or 1.0
    fitted = minimize(loss, np.array([1 / spread, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-6, None), (None, None)])
    return float(fitted.x[0]), float(fitted.x[1])


def machine_probabilities(p: Floats) -> Floats:
    """Turn probabilities of machines (M, N) into those of classes (N, K): the complement for one machine, else normalised."""
    return np.stack([1 - p[0], p[0]], axis=1) if len(p) == 1 else (p / p.sum(axis=0)).T
