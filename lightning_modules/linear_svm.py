"""A linear SVM in the primal: what scikit-learn's LinearSVC solves, for many rows and a path of penalties.

LinearSVC (liblinear) copies the rows of every inner fold, at 16 bytes a number; here all folds share one float32 matrix, and a
step of Newton's method is one product of the rows inside the margin.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]
TOLERANCE = 1e-6  # of the gradient, relative to the one at zero weights
STEPS = 100  # a handful is usual; a bound, should rounding keep the gradient above the tolerance
CHUNK = 8192  # rows that are copied at once


def fit_linear(z: NDArray[np.floating], sign: Floats, cost: Floats, start: Floats) -> Floats:
    """The weights w that minimise ½ |w|² + Σ cost · max(0, 1 − sign · w·(z, 1))²: squared hinge, as LinearSVC's default.

    As in LinearSVC the last weight is the intercept and is penalised with the others. The loss is quadratic but for the rows
    that enter or leave the margin, so that Newton's method ends after a few steps (Keerthi & DeCoste 2005, Chapelle 2007).

    Args:
        z: rows, (N, D), float32 or float64.
        sign: ±1, (N,).
        cost: C of each row, (N,), with its class weight in it; rows of cost 0 are not fitted on.
        start: (D + 1,), of a smaller C or zeros.

    Returns:
        (D + 1,).
    """
    weights = start
    slack = 1 - sign * decide(z, weights)
    loss = _loss(weights, slack, cost)
    smallest = TOLERANCE * np.linalg.norm(_gather(z, 2 * cost * sign))
    for _ in range(STEPS):
        gradient = weights - _gather(z, 2 * cost * sign * np.maximum(slack, 0))
        if np.linalg.norm(gradient) <= smallest:
            break
        step = -_newton(z, np.flatnonzero((slack > 0) & (cost > 0)), cost, gradient)
        change = -sign * decide(z, step)
        size, descent = 1.0, float(gradient @ step)
        while (tried := _loss(weights + size * step, slack + size * change, cost)) > loss + 1e-4 * size * descent:
            size /= 2
            if size < 1e-6:
                return weights  # at the rounding error of z
        weights, slack, loss = weights + size * step, slack + size * change, tried
    return weights


def decide(z: NDArray[np.floating], weights: Floats) -> Floats:
    """Decision values (N,) of rows (N, D)."""
    decision: Floats = (z @ weights[:-1].astype(z.dtype)).astype(np.float64) + weights[-1]
    return decision


def _gather(z: NDArray[np.floating], of_row: Floats) -> Floats:
    """Σ of_row · (z, 1), (D + 1,)."""
    return np.append((z.T @ of_row.astype(z.dtype)).astype(np.float64), of_row.sum())


def _loss(weights: Floats, slack: Floats, cost: Floats) -> float:
    return float(weights @ weights / 2 + cost @ np.maximum(slack, 0) ** 2)


def _newton(z: NDArray[np.floating], active: NDArray[np.intp], cost: Floats, gradient: Floats) -> Floats:
    """(I + AᵀA)⁻¹ gradient, A being the active rows times √(2 cost)."""

    def scaled(rows: NDArray[np.intp]) -> NDArray[np.floating]:
        root = np.sqrt(2 * cost[rows]).astype(z.dtype)[:, None]
        return np.concatenate([z[rows] * root, root], axis=1)

    if len(active) < len(gradient):  # the identity of Woodbury: the smaller of two systems
        a = scaled(active).astype(np.float64)
        inner = a @ a.T
        inner[np.diag_indices_from(inner)] += 1
        return np.asarray(gradient - a.T @ cho_solve(cho_factor(inner, overwrite_a=True), a @ gradient))
    hessian: NDArray[np.floating] = np.eye(len(gradient))
    for begin in range(0, len(active), CHUNK):
        a = scaled(active[begin : begin + CHUNK])
        hessian += a.T @ a
    return np.asarray(cho_solve(cho_factor(hessian, overwrite_a=True), gradient))
