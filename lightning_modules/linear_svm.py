"""A linear SVM in the primal: the problem of scikit-learn's LinearSVC, for many rows and a path of penalties.

LinearSVC (liblinear) copies the rows of every inner fold, at 16 bytes per number. Here all folds share one float32 matrix,
and a step of Newton's method costs one pass over it and a product of the rows that entered or left the margin.
``python -m benchmarks.svm solvers`` compares the two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]
TOLERANCE = 1e-6  # of the gradient, relative to the one at zero weights
STEPS = 100  # a few are usual; the bound is for rounding that keeps the gradient above the tolerance
CHUNK = 2048  # rows per copy


def fit_linear(z: NDArray[np.floating], sign: Floats, weight: Floats, penalties: Sequence[float]) -> list[Floats]:
    """Return for each C the w that minimises ½ |w|² + C Σ weight · max(0, 1 − sign · w·(z, 1))².

    This is the squared hinge, LinearSVC's default; as there, the last number of w is the intercept and is penalised with the
    others. The loss is quadratic except where rows enter or leave the margin, so that Newton's method ends after a few steps
    (Keerthi & DeCoste 2005, Chapelle 2007). Each C starts from the minimum of the previous one.

    Args:
        z: rows, (N, D), float32 or float64.
        sign: ±1, (N,).
        weight: of each row, (N,); rows of weight 0 are not fitted on.
        penalties: C, rising.

    Returns:
        One (D + 1,) per C.
    """
    w, margin, path = np.zeros(z.shape[1] + 1), _Margin(z, weight), []
    for c in penalties:
        w = _minimum(z, sign, c, margin, w)
        path.append(w)
    return path


def decide(z: NDArray[np.floating], w: Floats) -> Floats:
    """Return decision values (N,) of rows (N, D)."""
    decision: Floats = (z @ w[:-1].astype(z.dtype)).astype(np.float64) + w[-1]
    return decision


def _minimum(z: NDArray[np.floating], sign: Floats, c: float, margin: "_Margin", w: Floats) -> Floats:
    """Minimise by Newton's method with a line search, starting from w."""
    cost = c * margin.weight
    slack = 1 - sign * decide(z, w)
    loss = _loss(w, slack, cost)
    smallest = TOLERANCE * np.linalg.norm(_gather(z, 2 * cost * sign))
    for _ in range(STEPS):
        gradient = w - _gather(z, 2 * cost * sign * np.maximum(slack, 0))
        if np.linalg.norm(gradient) <= smallest:
            break
        step = -margin.newton((slack > 0) & (cost > 0), c, gradient)
        change = -sign * decide(z, step)
        size, descent = 1.0, float(gradient @ step)
        while (lower := _loss(w + size * step, slack + size * change, cost)) > loss + 1e-4 * size * descent:
            size /= 2
            if size < 1e-6:
                return w  # no better point within the rounding error of z
        w, slack, loss = w + size * step, slack + size * change, lower
    return w


def _gather(z: NDArray[np.floating], of_row: Floats) -> Floats:
    """Return Σ of_row · (z, 1), (D + 1,)."""
    return np.append((z.T @ of_row.astype(z.dtype)).astype(np.float64), of_row.sum())


def _loss(w: Floats, slack: Floats, cost: Floats) -> float:
    return float(w @ w / 2 + cost @ np.maximum(slack, 0) ** 2)


def _solved(matrix: Floats, right: Floats) -> Floats:
    """Return matrix⁻¹ · right for a symmetric positive definite matrix, and overwrite the matrix."""
    # The transpose is the same matrix in LAPACK's memory order, which halves the time.
    factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, right, check_finite=False))


class _Margin:
    """The rows inside the margin and the sum S of their weighted outer products, shared by all steps and all C.

    Each step updates S by the rows that entered or left the margin, or computes it from the rows inside if they are fewer.
    """

    def __init__(self, z: NDArray[np.floating], weight: Floats) -> None:
        self.z, self.weight = z, weight
        self.inside = np.zeros(len(z), dtype=bool)
        self.outer = np.zeros((z.shape[1] + 1, z.shape[1] + 1))

    def newton(self, inside: NDArray[np.bool_], c: float, gradient: Floats) -> Floats:
        """Return (I + 2 C S)⁻¹ gradient."""
        count = int(inside.sum())
        if count < len(gradient):  # Woodbury identity: a smaller system, without S
            a = np.sqrt(2 * c) * self._rows(np.flatnonzero(inside))
            small = a @ a.T
            small[np.diag_indices_from(small)] += 1
            return np.asarray(gradient - a.T @ _solved(small, a @ gradient))
        if (inside != self.inside).sum() > count:
            self.outer[:], self.inside = 0, np.zeros_like(inside)
        self._add(np.flatnonzero(inside & ~self.inside), 1)
        self._add(np.flatnonzero(self.inside & ~inside), -1)
        self.inside = inside
        hessian = 2 * c * self.outer
        hessian[np.diag_indices_from(hessian)] += 1
        return _solved(hessian, gradient)

    def _add(self, rows: NDArray[np.intp], times: int) -> None:
        for begin in range(0, len(rows), CHUNK):
            a = self._rows(rows[begin : begin + CHUNK])
            self.outer += times * (a.T @ a)

    def _rows(self, rows: NDArray[np.intp]) -> Floats:
        """Return √weight · (z, 1) in float64: in float32, S would keep rounding errors of rows that left."""
        root = np.sqrt(self.weight[rows])[:, None]
        return np.concatenate([self.z[rows] * root, root], axis=1)
