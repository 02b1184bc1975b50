"""Class weights: equal total weight per class, or equal weight per row."""

from torch import Tensor

from experiment.core.errors import not_allowed

CLASS_WEIGHTS = ("balanced", "none")


def check_class_weights(key: str, value: str) -> None:
    """Refuse a value that is neither ``balanced`` (equal total weight per class) nor ``none`` (equal weight per row)."""
    if value not in CLASS_WEIGHTS:
        raise not_allowed(key, value, CLASS_WEIGHTS)


def balanced_weights(target: Tensor, classes: int) -> Tensor:
    """Compute N / (K · rows of the class), (K,), from class indices (N,); a class without rows counts as one row."""
    return len(target) / (classes * target.bincount(minlength=classes).clamp_min(1))
