import pytest

from experiment.core.errors import UserError, listed, not_allowed


def test_a_value_that_is_not_allowed_is_named_with_the_set_and_the_nearest():
    error = not_allowed("model.combiner", "weigted", ["mean", "weighted", "vote"])
    assert isinstance(error, UserError)
    assert str(error) == "model.combiner=weigted is not allowed; allowed: mean, weighted, vote. Did you mean 'weighted'?"


def test_nothing_is_suggested_where_nothing_is_near():
    assert str(not_allowed("folds.k", 0, [2, 5])) == "folds.k=0 is not allowed; allowed: 2, 5."


def test_values_need_not_be_text():
    assert "Did you mean '512'?" in str(not_allowed("data.size", 51, iter([64, 512])))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (range(10), "0, 1, 2 and 7 more"),
    ],
)
def test_many_names_are_cut_and_counted(names, expected):
    assert listed(names, limit=3) == expected


def test_five_names_are_given_by_default():
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
