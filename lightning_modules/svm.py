"""Fit an SVM on skip features: select, calibrate, and fit on all rows. Pure functions on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn import config_context
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from experiment.core.errors import UserError
from experiment.core.partition import group_counts, partition
from lightning_modules.linear_svm import CHUNK
from lightning_modules.platt import machine_probabilities, platt
from lightning_modules.svm_settings import SVMSettings
from lightning_modules.svm_solvers import Solver, solvers

Floats = NDArray[np.float64]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class FittedSVM:
    """A fitted SVM as plain arrays: M machines (one for two classes, else one per class against the rest).

    Attributes:
        center: (F,), subtracted from the features.
        scale: (F,), the divisor after that.
        support: standardised support vectors, landmarks or weights, (S, F); see `lightning_modules.svm_solvers.Machines`.
        dual: dual coefficients, (M, S).
        intercept: (M,).
        gamma: width of the RBF kernel; 0 stands for the linear kernel.
        slope: calibration, (M,): the probability of a machine is sigmoid(slope · decision + offset).
        offset: (M,).
        held_out: calibrated probabilities (V, K) of the scored rows, from fits that did not see them.
        chosen: C, gamma (a multiple of 1 / F, for the RBF kernel), the inner AUROC, and sizes, for logging.
        solver: how it was fitted, in words.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    support: NDArray[np.floating]
    dual: Floats
    intercept: Floats
    gamma: float
    slope: Floats
    offset: Floats
    held_out: Floats
    chosen: dict[str, float]
    solver: str


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

    Only `scored` rows are held out in the inner folds, and only they decide the choice and the calibration; the other rows
    are always trained on. A network that was fine-tuned on the other rows has memorised them: how well an SVM separates
    their features says nothing about new images.

    The criterion is the AUROC (macro, one against the rest) over all scored rows. The standardisation is fitted once on all
    rows, without labels. `lightning_modules.svm_solvers` says which SVM is solved and how, by kernel and number of rows.

    Args:
        features: (N, F).
        target: class indices, (N,).
        group: (N,), never on both sides of an inner fold.
        scored: (N,).
        classes: K.
        settings: what to search.
        seed: of the inner folds, and of the landmarks where the kernel is approximated.

    Raises:
        UserError: the scored rows cannot be held out, because a class is in too few of their groups.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> target = np.arange(60) % 2
        >>> features = rng.normal(size=(60, 3)).astype(np.float32) + 3 * target[:, None]
        >>> patient = np.array([f"patient {row // 6}" for row in range(60)], dtype=object)
        >>> settings = SVMSettings("rbf", C=[0.1, 1], gamma=1.0)
        >>> svm = fit_svm(features, target, patient, np.ones(60, dtype=bool), 2, settings, seed=0)
        >>> svm.solver, svm.held_out.shape, bool(svm.chosen["inner_auroc"] > 0.95)
        ('exact RBF kernel', (60, 2), True)
    """
    scaler = StandardScaler()
    for begin in range(0, len(features), CHUNK):  # to avoid a float64 copy of all rows
        scaler.partial_fit(features[begin : begin + CHUNK])
    center, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    x = features - center
    x /= scale
    signs = _machine_targets(target, classes)
    folds = inner_folds(target, group, scored, settings.inner_folds, seed)
    solver_of = solvers(x, settings, seed)

    best: tuple[float, tuple[float, float], Floats] | None = None
    with config_context(skip_parameter_validation=True):  # a tenth of the search
        for gamma in settings.gammas:  # simplest first: the simplest wins a tie
            decisions = _held_out(solver_of(gamma / x.shape[1]), signs, folds, settings.penalties)[:, :, scored]
            for c, decided in zip(settings.penalties, decisions, strict=True):
                auroc = float(np.mean([roc_auc_score(s[scored], d) for s, d in zip(signs, decided, strict=True)]))
                if best is None or auroc > best[0]:
                    best = (auroc, (gamma, c), decided)
    assert best is not None
    auroc, (gamma, c), decided = best

    machines = solver_of(gamma / x.shape[1]).machines(signs, c)
    sigmoids = np.array([platt(d, s[scored], settings.balanced) for d, s in zip(decided, signs, strict=True)])
    slope, offset = sigmoids[:, 0], sigmoids[:, 1]
    width = {"gamma": gamma} if settings.kernel == "rbf" else {}
    return FittedSVM(
        center=center, scale=scale, support=machines.support, dual=machines.dual, intercept=machines.intercept,
        gamma=machines.gamma, slope=slope, offset=offset,
        held_out=machine_probabilities(expit(slope[:, None] * decided + offset[:, None])),
        chosen={"C": c, **width, "inner_auroc": auroc, **machines.counts}, solver=machines.solver,
    )  # fmt: skip


def _machine_targets(target: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Return what each machine separates, (M, N)."""
    return np.array([target == c for c in (range(classes) if classes > 2 else [1])])


def _held_out(solver: Solver, signs: NDArray[np.bool_], folds: list[Fold], penalties: list[float]) -> Floats:
    """Return decisions on rows that the machine was not fitted on, (C, M, N); 0 for rows that no fold holds out."""
    decisions = np.zeros((len(penalties), *signs.shape))
    for train, test in folds:
        for machine, sign in enumerate(signs):
            decisions[:, machine, test] = solver.path(sign, train, test, penalties)
    return decisions


def inner_folds(
    target: NDArray[np.int64], group: NDArray[np.object_], scored: NDArray[np.bool_], k: int, seed: int
) -> list[Fold]:
    """Split the scored rows into grouped folds; the other rows are always trained on.

    Each test part holds every class. Where groups are too few for k folds, make fewer. Where they are too few for two, hold
    all scored rows out together, if the other rows hold every class.

    Returns:
        Row numbers (train, test) of each fold.

    Raises:
        UserError: neither is possible.
    """
    rows, others = np.flatnonzero(scored), np.flatnonzero(~scored)
    member, counts = group_counts(group[rows], target[rows], int(target.max()) + 1)
    groups_of_class = (counts > 0).sum(axis=0)
    for bins in range(min(k, groups_of_class.min()), 1, -1):
        placed = partition(counts, [1 / bins] * bins, 1, seed)
        if placed is not None:
            tests = [rows[placed[member] == number] for number in range(bins)]
            return [(np.setdiff1d(np.arange(len(target)), test), test) for test in tests]
    if groups_of_class.min() and set(target[others]) == set(target):
        return [(others, rows)]
    raise UserError(
        f"the SVM is chosen and calibrated by inner cross-validation on {len(rows)} rows. That needs two folds of whole "
        f"groups with every class in both, but the classes are in {', '.join(map(str, groups_of_class))} groups. Take a "
        "larger folds.val, or model.features_from=pretrained, which uses all rows."
    )
