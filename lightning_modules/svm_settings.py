"""Settings of the SVM on skip features: the search grid, the inner folds and the solver."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiment.core.class_weights import check_class_weights
from experiment.core.errors import UserError, not_allowed

KERNELS = ("rbf", "linear")


@dataclass(frozen=True)
class SVMSettings:
    """Settings of `lightning_modules.svm.fit_svm`.

    Attributes:
        kernel: ``rbf`` or ``linear``.
        C: candidates for the penalty; one number fixes it.
        gamma: candidates for the width of the RBF kernel, in multiples of 1 / F (scikit-learn's ``scale``).
        inner_folds: folds of the inner cross-validation.
        class_weights: ``balanced`` weighs classes inversely to their frequency, in the SVM and in its calibration, so that
            probabilities are those of equally frequent classes; ``none`` uses the frequencies of the rows.
        exact_max: the largest number of rows for which the RBF kernel is exact; for more it is approximated (Nyström).
        nystroem: components of that approximation.

    Raises:
        UserError: a value is not allowed.
    """

    kernel: str = "rbf"
    C: float | Sequence[float] = (0.1, 1, 10, 100)
    gamma: float | Sequence[float] = (0.0625, 0.25, 1)
    inner_folds: int = 5
    class_weights: str = "balanced"
    exact_max: int = 4000
    nystroem: int = 1000

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise not_allowed("model.svm.kernel", self.kernel, KERNELS)
        check_class_weights("model.svm.class_weights", self.class_weights)
        positive = "take a positive number, or a list of them to choose from"
        for name, valid, advice in (
            ("inner_folds", self.inner_folds >= 2, "take 2 or more"),
            ("exact_max", self.exact_max >= 0, "take 0 (always approximate) or more"),
            ("nystroem", self.nystroem >= 1, "take 1 component or more, 1000 if in doubt"),
            ("C", _are_positive(self.C), positive),
            ("gamma", _are_positive(self.gamma), positive),
        ):
            if not valid:
                raise UserError(f"model.svm.{name}={getattr(self, name)} is not allowed; {advice}.")

    @property
    def gammas(self) -> list[float]:
        """Return gamma from the widest kernel to the narrowest; one number without meaning for the linear kernel."""
        return _candidates(self.gamma) if self.kernel == "rbf" else [1.0]

    @property
    def penalties(self) -> list[float]:
        """Return C from the simplest SVM to the most complex."""
        return _candidates(self.C)

    @property
    def balanced(self) -> bool:
        """Return whether every class has the same weight."""
        return self.class_weights == "balanced"


def _are_positive(values: float | Sequence[float]) -> bool:
    try:
        candidates = _candidates(values)  # a word is a sequence of letters, of which none is a number
    except (TypeError, ValueError):
        return False
    return bool(candidates) and all(0 < value < math.inf for value in candidates)


def _candidates(values: float | Sequence[float]) -> list[float]:
    return sorted(map(float, values)) if isinstance(values, Sequence) else [float(values)]
