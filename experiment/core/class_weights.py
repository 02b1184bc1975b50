"""Class weights: whether all classes have the same say, or all rows."""

from torch import Tensor

from experiment.core.errors import not_allowed

CLASS_WEIGHTS = ("balanced", "none")


def check_class_weights(key: str, value: str) -> None:
    """Refuse what is neither ``balanced`` (classes have the same say) nor ``none`` (rows have)."""
    if value not in CLASS_WEIGHTS:
        raise not_allowed(key, value, CLASS_WEIGHTS)


def balanced_weights(target: Tensor, classes: int) -> Tensor:
    """N / (K · rows of the class), (K,), from class indices (N,); a class without rows counts as one of one row."""
    return len(target) / (classes * target.bincount(minlength=classes).clamp_min(1))
