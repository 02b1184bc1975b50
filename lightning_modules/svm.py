"""Fitting an SVM on skip features: selection, calibration and refit. Pure functions on arrays; scikit-learn fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiment.class_weights import check_class_weights
from experiment.errors import UserError, not_allowed

KERNELS = ("rbf", "linear")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SVMSettings:
    """What to search, and how.

    Attributes:
        kernel: ``rbf`` or ``linear``.
        C: candidates for the penalty; one number fixes it.
        gamma: candidates for the width of the RBF kernel, in multiples of 1 / F (scikit-learn's ``scale``).
        inner_folds: folds of the inner cross-validation.
        class_weights: ``balanced`` weighs classes inversely to their frequency, in the SVM and in its calibration, so that
            probabilities are those of equally frequent classes; ``none`` keeps the frequencies found.
    """

    kernel: str
    C: float | Sequence[float]
    gamma: float | Sequence[float]
    inner_folds: int
    class_weights: str

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise not_allowed("model.svm.kernel", self.kernel, KERNELS)
        check_class_weights("model.svm.class_weights", self.class_weights)
        if self.inner_folds < 2:
            raise UserError(f"model.svm.inner_folds={self.inner_folds} is not allowed; take 2 or more.")
        for name, values in (("C", self.C), ("gamma", self.gamma)):
            if not _candidates(values) or min(_candidates(values)) <= 0:
                raise UserError(f"model.svm.{name}={values} is not allowed; take positive numbers.")

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Pairs (gamma, C), simplest first, so that of equal scores the simplest wins."""
        gammas = _candidates(self.gamma) if self.kernel == "rbf" else [1.0]
        return [(gamma, c) for gamma in sorted(gammas) for c in sorted(_candidates(self.C))]


@dataclass(frozen=True)
class FittedSVM:
    """A fitted SVM as plain arrays: M machines (1 for two classes, else one a class against the rest), S support vectors.

    Attributes:
        center: (F,), subtracted from the features.
        scale: (F,), then divides them.
        support: standardised support vectors, (S, F).
        dual: dual coefficients, (M, S).
        intercept: (M,).
        gamma: width of the RBF kernel; 0 stands for the linear kernel.
        slope: calibration, (M,): the probability of a machine is sigmoid(slope · decision + offset).
        offset: (M,).
        held_out: calibrated probabilities (V, K) of the rows that were scored, from fits that did not see them.
        chosen: C, gamma (multiple of 1 / F) and the inner AUROC.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    support: NDArray[np.float32]
    dual: Floats
    intercept: Floats
    gamma: float
    slope: Floats
    offset: Floats
    held_out: Floats
    chosen: dict[str, float]


def _candidates(values: float | Sequence[float]) -> list[float]:
    return [float(v) for v in values] if isinstance(values, Sequence) else [float(values)]


def fit_svm(
    features: NDArray[np.float32],
    target: NDArray[np.int64],
    group: NDArray[np.object_],
    scored: NDArray[np.bool_],
    classes: int,
    settings: SVMSettings,
    seed: int,
) -> FittedSVM:
    """Choose C and gamma by grouped inner cross-validation, calibrate on its decisions, and fit on all rows.

    Only `scored` rows are ever held out in the inner folds, and only they are scored and calibrated on; the other rows are
    always trained on. A network that was fine-tuned on those has memorised them: what an SVM makes of their features says
    nothing about new images.

    The criterion is the AUROC (macro, one against the rest) over all scored rows. The standardisation is fitted once on all
    rows, without labels. The Gram matrix is computed once for each gamma.

    Args:
        features: (N, F).
        target: class indices, (N,).
        group: (N,), never on both sides of an inner fold.
        scored: (N,).
        classes: K.
        settings: what to search.
        seed: of the shuffle into inner folds.

    Raises:
        UserError: the scored rows cannot be held out, because a class stands in too few of their groups.
    """
    scaler = StandardScaler().fit(features)
    center, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    x = ((features - center) / scale).astype(np.float32).astype(np.float64)
    signs = _machine_targets(target, classes)
    folds = _inner_folds(target, group, scored, settings.inner_folds, seed)
    squared = euclidean_distances(x, squared=True) if settings.kernel == "rbf" else x @ x.T

    best: tuple[float, tuple[float, float], Floats] | None = None
    kernel_of, kernel = None, squared
    for gamma, c in settings.grid:
        if gamma != kernel_of:
            kernel_of, kernel = gamma, _gram(squared, gamma / x.shape[1], settings.kernel)
        decisions = np.zeros(signs.shape)
        for train, test in folds:
            for machine, sign in enumerate(signs):
                svc = _svc(c, settings).fit(kernel[np.ix_(train, train)], sign[train])
                decisions[machine, test] = svc.decision_function(kernel[np.ix_(test, train)])
        auroc = float(np.mean([roc_auc_score(s[scored], d[scored]) for s, d in zip(signs, decisions, strict=True)]))
        if best is None or auroc > best[0]:
            best = (auroc, (gamma, c), decisions[:, scored])
    assert best is not None
    auroc, (gamma, c), decisions = best

    kernel = _gram(squared, gamma / x.shape[1], settings.kernel)
    machines = [_svc(c, settings).fit(kernel, sign) for sign in signs]
    used = np.unique(np.concatenate([machine.support_ for machine in machines]))
    dual = np.zeros((len(machines), len(x)))
    for row, machine in zip(dual, machines, strict=True):
        row[machine.support_] = machine.dual_coef_[0]
    balanced = settings.class_weights == "balanced"
    sigmoids = np.array([platt(d, s[scored], balanced) for d, s in zip(decisions, signs, strict=True)])
    slope, offset = sigmoids[:, 0], sigmoids[:, 1]
    return FittedSVM(
        center=center, scale=scale, support=x[used].astype(np.float32), dual=dual[:, used],
        intercept=np.array([machine.intercept_[0] for machine in machines]),
        gamma=gamma / x.shape[1] if settings.kernel == "rbf" else 0.0,
        slope=slope, offset=offset,
        held_out=machine_probabilities(expit(slope[:, None] * decisions + offset[:, None])),
        chosen={"C": c, "gamma": gamma, "inner_auroc": auroc, "support_vectors": float(len(used))},
    )  # fmt: skip


def _machine_targets(target: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """(M, N): what each machine separates."""
    return np.array([target == c for c in (range(classes) if classes > 2 else [1])])


def machine_probabilities(p: Floats) -> Floats:
    """Machines' probabilities (M, N) to class probabilities (N, K): the complement for one machine, else normalised."""
    return np.stack([1 - p[0], p[0]], axis=1) if len(p) == 1 else (p / p.sum(axis=0)).T


def _gram(squared: Floats, gamma: float, kernel: str) -> Floats:
    return np.exp(-gamma * squared) if kernel == "rbf" else squared


def _svc(c: float, settings: SVMSettings) -> SVC:
    weight: Literal["balanced"] | None = "balanced" if settings.class_weights == "balanced" else None
    return SVC(C=c, kernel="precomputed", class_weight=weight, cache_size=500)


def _inner_folds(
    target: NDArray[np.int64], group: NDArray[np.object_], scored: NDArray[np.bool_], k: int, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Row numbers (train, test): the scored rows in k grouped folds, the others always in train.

    Scored rows of too few groups to split are held out together, if the others hold every class.
    """
    rows, others = np.flatnonzero(scored), np.flatnonzero(~scored)
    classes = set(target)
    fewest = min(len(set(group[rows][target[rows] == c])) for c in classes)
    k = min(k, fewest)
    if fewest == 1 and set(target[others]) == classes:
        return [(others, rows)]
    if k < 2:
        raise UserError(
            "the SVM is chosen and calibrated by inner cross-validation, and a class stands in fewer than two groups of the "
            f"{len(rows)} rows for that. Take a larger folds.val, or model.features_from=pretrained, which uses all rows."
        )
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    tests = [rows[test] for _, test in splitter.split(rows, target[rows], group[rows])]
    everyone = np.arange(len(target))
    return [(np.setdiff1d(everyone, test), test) for test in tests if len(test)]


def platt(decision: Floats, positive: NDArray[np.bool_], balanced: bool = False) -> tuple[float, float]:
    """Slope and offset of the sigmoid that turns decisions (N,) into probabilities (Platt 1999, with his soft targets).

    `balanced` gives both classes the same total weight.
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
    found = minimize(loss, np.array([1 / spread, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-6, None), (None, None)])
    return float(found.x[0]), float(found.x[1])
