"""What to search when an SVM is fitted on skip features, and how."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiment.core.class_weights import check_class_weights
from experiment.core.errors import UserError, not_allowed

KERNELS = ("rbf", "linear")


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
        exact_max: rows up to which the RBF kernel is computed between all of them; with more it is approximated (Nyström).
        nystroem: components of that approximation.
    """

    kernel: str
    C: float | Sequence[float]
    gamma: float | Sequence[float]
    inner_folds: int
    class_weights: str
    exact_max: int
    nystroem: int

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise not_allowed("model.svm.kernel", self.kernel, KERNELS)
        check_class_weights("model.svm.class_weights", self.class_weights)
        if self.inner_folds < 2:
            raise UserError(f"model.svm.inner_folds={self.inner_folds} is not allowed; take 2 or more.")
        if self.exact_max < 0:
            raise UserError(f"model.svm.exact_max={self.exact_max} is not allowed; take 0 (always approximate) or more.")
        if self.nystroem < 1:
            raise UserError(f"model.svm.nystroem={self.nystroem} is not allowed; take 1 component or more, 1000 if in doubt.")
        for name, values in (("C", self.C), ("gamma", self.gamma)):
            if not _are_positive(values):
                raise UserError(
                    f"model.svm.{name}={values} is not allowed; take a positive number, or a list of them to choose from."
                )

    @property
    def gammas(self) -> list[float]:
        """From the widest kernel on; one number without meaning for the linear kernel."""
        return _candidates(self.gamma) if self.kernel == "rbf" else [1.0]

    @property
    def penalties(self) -> list[float]:
        """C from the simplest SVM on."""
        return _candidates(self.C)

    @property
    def balanced(self) -> bool:
        """Whether classes have the same say."""
        return self.class_weights == "balanced"


def _are_positive(values: float | Sequence[float]) -> bool:
    try:
        candidates = _candidates(values)  # a word is a sequence of letters, of which none is a number
    except (TypeError, ValueError):
        return False
    return bool(candidates) and all(0 < value < math.inf for value in candidates)


def _candidates(values: float | Sequence[float]) -> list[float]:
    return sorted(map(float, values)) if isinstance(values, Sequence) else [float(values)]
