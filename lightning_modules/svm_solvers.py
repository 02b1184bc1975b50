"""Solvers for the machines of an SVM: on all pairs of rows, on Nyström components, or on the features themselves.

| kernel | rows | solver | loss | memory |
|---|---|---|---|---|
| rbf | up to ``exact_max`` | libsvm on the Gram matrix | hinge | N² |
| rbf | more | `fit_linear` on Nyström components | squared hinge | N · components |
| linear | any | `fit_linear` on the features | squared hinge | N · F |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import SVC

from lightning_modules.linear_svm import CHUNK, decide, fit_linear
from lightning_modules.svm_settings import SVMSettings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]
SMALLEST = 1e-6  # eigenvalue of the landmarks' kernel, relative to the largest; smaller ones are float32 rounding


@dataclass(frozen=True)
class Machines:
    """Coefficients of M machines, whose decisions are ``K(x, support) @ dual.T + intercept``.

    Attributes:
        support: standardised support vectors (exact), landmarks (Nyström) or weights (linear), (S, F).
        dual: (M, S).
        intercept: (M,).
        gamma: width of the RBF kernel; 0 stands for the linear kernel.
        solver: how they were fitted, in words.
        counts: sizes to log, by name.
    """

    support: NDArray[np.floating]
    dual: Floats
    intercept: Floats
    gamma: float
    solver: str
    counts: dict[str, float]


class Solver(Protocol):
    """A way to fit machines of one kernel on standardised rows (N, F), which it was made with."""

    def path(self, sign: Bools, train: Rows, test: Rows, penalties: Sequence[float]) -> Floats:
        """Fit a machine on rows `train` for each of the rising penalties; return the decisions on rows `test`, (C, T)."""

    def machines(self, signs: Bools, penalty: float) -> Machines:
        """Fit machines on all rows; `signs` (M, N) is what each one separates."""


def solvers(x: NDArray[np.float32], settings: SVMSettings, seed: int) -> Callable[[float], Solver]:
    """Return a function from the width of the RBF kernel to the solver for rows x (N, F); `seed` draws the landmarks."""
    if settings.kernel == "linear":
        return lambda _: Linear(x, settings.balanced)
    if len(x) <= settings.exact_max:
        squared = euclidean_distances(x.astype(np.float64), squared=True)  # one matrix for all widths
        return lambda gamma: Exact(x, squared, gamma, settings.balanced)
    drawn = np.random.default_rng(seed).choice(len(x), min(settings.nystroem, len(x)), replace=False)
    landmarks = x[np.sort(drawn)]
    return lambda gamma: Nystroem(x, landmarks, gamma, settings.balanced)


class Exact:
    """An exact RBF kernel: libsvm on the Gram matrix of all rows, which penalties and inner folds share."""

    def __init__(self, x: NDArray[np.float32], squared: Floats, gamma: float, balanced: bool) -> None:
        self.x, self.gamma = x, gamma
        self.kernel = squared * -gamma
        np.exp(self.kernel, out=self.kernel)
        self.weight: Literal["balanced"] | None = "balanced" if balanced else None

    def path(self, sign: Bools, train: Rows, test: Rows, penalties: Sequence[float]) -> Floats:
        """See `Solver`."""
        seen, unseen = self.kernel[np.ix_(train, train)], self.kernel[np.ix_(test, train)]
        return np.array([self._svc(c).fit(seen, sign[train]).decision_function(unseen) for c in penalties])

    def machines(self, signs: Bools, penalty: float) -> Machines:
        """See `Solver`; `support` is the union of the support vectors of all machines."""
        fitted = [self._svc(penalty).fit(self.kernel, sign) for sign in signs]
        used = np.unique(np.concatenate([machine.support_ for machine in fitted]))
        dual = np.zeros((len(fitted), len(self.x)))
        for row, machine in zip(dual, fitted, strict=True):
            row[machine.support_] = machine.dual_coef_[0]
        intercept = np.array([machine.intercept_[0] for machine in fitted])
        counts = {"support_vectors": float(len(used))}
        return Machines(self.x[used], dual[:, used], intercept, self.gamma, "exact RBF kernel", counts)

    def _svc(self, c: float) -> SVC:
        return SVC(C=c, kernel="precomputed", class_weight=self.weight, cache_size=500)


class Linear:
    """A linear kernel: the squared hinge loss of scikit-learn's LinearSVC on the rows themselves."""

    def __init__(self, rows: NDArray[np.float32], balanced: bool) -> None:
        self.rows, self.balanced = rows, balanced

    def path(self, sign: Bools, train: Rows, test: Rows, penalties: Sequence[float]) -> Floats:
        """See `Solver`."""
        unseen = self.rows[test]
        return np.array([decide(unseen, w) for w in self._fit(sign, train, penalties)])

    def weights(self, signs: Bools, penalty: float) -> Floats:
        """Fit machines on all rows; return their weights and, last, intercepts, (M, D + 1)."""
        every_row = np.arange(len(self.rows))
        return np.array([self._fit(sign, every_row, [penalty])[0] for sign in signs])

    def machines(self, signs: Bools, penalty: float) -> Machines:
        """See `Solver`; the weights of a machine are its one support vector."""
        weights = self.weights(signs, penalty)
        return Machines(weights[:, :-1], np.eye(len(weights)), weights[:, -1], 0.0, "linear kernel, squared hinge loss", {})

    def _fit(self, sign: Bools, train: Rows, penalties: Sequence[float]) -> list[Floats]:
        weight = np.zeros(len(sign))  # of rows that are not trained on
        share = sign[train].mean()
        weight[train] = 1 / (2 * np.where(sign[train], share, 1 - share)) if self.balanced else 1  # as in scikit-learn
        return fit_linear(self.rows, np.where(sign, 1.0, -1.0), weight, penalties)


class Nystroem:
    """An approximate RBF kernel: a linear SVM on the kernel's values at landmarks (Williams & Seeger 2001).

    Landmarks are rows drawn by the seed. Like the standardisation, the draw ignores labels and inner folds.
    """

    def __init__(self, x: NDArray[np.float32], landmarks: NDArray[np.float32], gamma: float, balanced: bool) -> None:
        self.landmarks, self.gamma = landmarks, gamma
        values, vectors = eigh(_rbf(landmarks.astype(np.float64), landmarks.astype(np.float64), gamma))
        large = values > SMALLEST * values[-1]
        self.basis: Floats = vectors[:, large] / np.sqrt(values[large])
        components = np.empty((len(x), self.basis.shape[1]), dtype=np.float32)
        basis = self.basis.astype(np.float32)
        for begin in range(0, len(x), CHUNK):
            rows = slice(begin, begin + CHUNK)
            components[rows] = _rbf(x[rows], landmarks, gamma) @ basis
        self.linear = Linear(components, balanced)

    def path(self, sign: Bools, train: Rows, test: Rows, penalties: Sequence[float]) -> Floats:
        """See `Solver`."""
        return self.linear.path(sign, train, test, penalties)

    def machines(self, signs: Bools, penalty: float) -> Machines:
        """See `Solver`; the dual coefficients include the normalisation of the components."""
        weights, count = self.linear.weights(signs, penalty), len(self.landmarks)
        solver = f"RBF kernel approximated by {count} Nyström components, squared hinge loss"
        dual = weights[:, :-1] @ self.basis.T
        return Machines(self.landmarks, dual, weights[:, -1], self.gamma, solver, {"nystroem_components": float(count)})


def _rbf(x: NDArray[np.floating], landmarks: NDArray[np.floating], gamma: float) -> NDArray[np.floating]:
    """Return kernel values (N, S) in the precision of the rows."""
    kernel: NDArray[np.floating] = euclidean_distances(x, landmarks, squared=True)
    kernel *= -gamma
    np.exp(kernel, out=kernel)
    return kernel
