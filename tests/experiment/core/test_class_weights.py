import pytest
import torch

from experiment.core.class_weights import balanced_weights, check_class_weights
from experiment.core.errors import UserError


def test_classes_get_the_same_total_weight() -> None:
    # 8 / (2 · 6) and 8 / (2 · 2)
    assert balanced_weights(torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), 2).tolist() == pytest.approx([2 / 3, 2])


def test_a_class_without_rows_has_a_finite_weight() -> None:
    assert balanced_weights(torch.tensor([0, 0]), 3).tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_other_words_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.class_weights=even is not allowed; allowed: balanced, none\."):
        check_class_weights("model.class_weights", "even")
