import time

import numpy as np
import pytest

from experiment.sweep import settings
from experiment.sweep.ledger import Trial
from experiment.sweep.settings import Setting, brief, importances, is_setting, labels, varied


def trials(rows, values):
    return [Trial(f"r{i}", row, "complete", {"f": [value]}) for i, (row, value) in enumerate(zip(rows, values, strict=True))]


def test_only_what_differs_is_a_setting_and_what_was_not_named_is_the_default():
    found = varied(trials([{"a": "1", "b": "x"}, {"a": "2", "b": "x"}, {"b": "x", "c": "on"}], [0, 0, 0]))
    assert [(column.key, column.texts) for column in found] == [
        ("a", ("1", "2", "default")),
        ("c", ("default", "default", "on")),
    ]


def test_numbers_lie_where_they_are_and_wide_ranges_by_their_logarithm():
    assert Setting("a", ("1", "2", "5")).places == pytest.approx([0, 0.25, 1])
    assert Setting("a", ("0.01", "1", "100")).places == pytest.approx([0, 0.5, 1])
    assert not Setting("a", ("-1", "1000")).logarithmic


def test_choices_lie_at_equal_distances():
    assert Setting("a", ("x", "z", "y", "x")).places == pytest.approx([0, 1, 0.5, 0])
    assert Setting("a", ("10", "9")).choices == ["9", "10"]


def test_the_setting_that_decides_is_the_important_one():
    pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    rows = [{"good": f"{rng.uniform()}", "idle": f"{rng.uniform()}", "kind": "ab"[i % 2]} for i in range(40)]
    shares = importances(trials(rows, [float(row["good"]) ** 2 for row in rows]))
    assert next(iter(shares)) == "good"
    assert shares["good"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_lists_of_one_number_are_numbers():
    assert Setting("model.svm.C", ("[10]", "[0.1]", "[1]")).choices == ["[0.1]", "[1]", "[10]"]
    assert Setting("model.svm.C", ("[10]", "[0.1, 1]")).numbers is None


def test_importance_of_many_choices_is_told_in_seconds():
    pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    good, idle = rng.integers(0, 30, 2 * settings.MOST), rng.integers(0, 30, 2 * settings.MOST)
    rows = [{"good": f"name {a:02}", "idle": f"name {b:02}"} for a, b in zip(good, idle, strict=True)]
    began = time.perf_counter()
    shares = importances(trials(rows, [float(value) for value in good]))
    assert time.perf_counter() - began < 20  # names as names take the better part of an hour
    assert shares["good"] > 0.9


@pytest.mark.parametrize("count", [0, 1, settings.ENOUGH - 1])
def test_few_trials_tell_nothing(count):
    assert importances(trials([{"a": str(i)} for i in range(count)], list(range(count)))) == {}


def test_equal_trials_tell_nothing():
    assert importances(trials([{"a": str(i)} for i in range(20)], [0.5] * 20)) == {}


def test_values_are_shortened_for_a_table():
    assert [brief(text) for text in ("11.494196400307425", "1e-05", "[layer3]", "x" * 40)] == [
        "11.5",
        "1e-05",
        "[layer3]",
        "x" * 27 + "…",
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("model.lr", True),
        ("trunk", True),
        ("data.image_size", True),
        ("sweep_of_something", True),
        ("logger", False),
        ("logger.folds", False),
        ("paths.runs", False),
        ("folds.parallel", False),
        ("sweep/space", False),
        ("trainer.accelerator", False),
        ("data.num_workers", False),
    ],
)
def test_what_moves_no_number_is_no_setting(key, expected):
    assert is_setting(key) == expected
    rows = trials([{key: "a"}, {key: "b"}], [0, 0])
    assert (key in [column.key for column in varied(rows)]) == expected


def test_a_short_name_is_the_last_part_unless_two_keys_share_it():
    assert labels(["model.svm.C", "trunk", "a.lr", "b.lr"]) == {
        "model.svm.C": "C",
        "trunk": "trunk",
        "a.lr": "a.lr",
        "b.lr": "b.lr",
    }
