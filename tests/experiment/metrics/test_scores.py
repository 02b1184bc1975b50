import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from experiment.metrics.scores import METRICS, score, summarise

# Three positives, five negatives. At the largest probability: TP 2, FN 1, FP 1, TN 4.
TARGET = np.array([1, 1, 1, 0, 0, 0, 0, 0])
PRESENT = np.array([0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1, 0.1])


def two(present):
    """Probabilities (N, 2) from those of the second class."""
    present = np.asarray(present, dtype=float)
    return np.stack([1 - present, present], axis=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sensitivity", 2 / 3),
        ("specificity", 4 / 5),
        ("balanced_accuracy", (2 / 3 + 4 / 5) / 2),
        ("accuracy", 6 / 8),
        ("f1", 2 * 2 / (2 * 2 + 1 + 1)),
        ("mcc", (2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5)),
        # Of 3 · 5 pairs of a positive and a negative only (0.4, 0.7) is in the wrong order.
        ("auroc", 14 / 15),
        # Precision where each positive is found: 1/1, 2/2, and 3/4 after the negative at 0.7.
        ("auprc", (1 + 1 + 3 / 4) / 3),
        ("brier", (0.1**2 + 0.2**2 + 0.6**2 + 0.7**2 + 0.3**2 + 0.2**2 + 0.1**2 + 0.1**2) / 8),
    ],
)
def test_two_classes_by_hand(name, expected):
    assert score(TARGET, two(PRESENT), positive=1)[name] == pytest.approx(expected)


def test_all_metrics_are_there():
    assert list(score(TARGET, two(PRESENT), positive=1)) == list(METRICS)


def test_the_positive_class_may_come_first():
    swapped = score(1 - TARGET, two(PRESENT)[:, ::-1], positive=0)
    assert swapped == pytest.approx(score(TARGET, two(PRESENT), positive=1))


def test_three_classes_by_hand():
    # Decided: 0, 1, 1, 2. Of class 1 against the rest: TP 1, FP 1, FN 0, TN 2.
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])
    got = score(np.array([0, 1, 2, 2]), p, positive=1)
    assert got["sensitivity"] == 1
    assert got["specificity"] == pytest.approx(2 / 3)
    assert got["f1"] == pytest.approx(2 / 3)
    assert got["balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    # Squared errors summed over classes: 0.06, 0.24, 0.09 + 0.16 + 0.49 = 0.74, 0.06. Not halved.
    assert got["brier"] == pytest.approx((0.06 + 0.24 + 0.74 + 0.06) / 4)


@given(st.integers(2, 4), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_agrees_with_scikit_learn(k, seed):
    rng = np.random.default_rng(seed)
    target = np.concatenate([np.arange(k), rng.integers(0, k, 20)])
    p = rng.dirichlet(np.ones(k), len(target))
    positive = int(rng.integers(k))
    decided = p.argmax(axis=1)
    got = score(target, p, positive)
    ranked = [(target == c, p[:, c]) for c in ([positive] if k == 2 else range(k))]
    assert got["auroc"] == pytest.approx(np.mean([sk.roc_auc_score(*pair) for pair in ranked]))
    assert got["auprc"] == pytest.approx(np.mean([sk.average_precision_score(*pair) for pair in ranked]))
    assert got["sensitivity"] == pytest.approx(sk.recall_score(target == positive, decided == positive))
    assert got["specificity"] == pytest.approx(sk.recall_score(target != positive, decided != positive))
    assert got["balanced_accuracy"] == pytest.approx(sk.recall_score(target, decided, average="macro"))
    assert got["brier"] == pytest.approx(sk.brier_score_loss(target, p, labels=range(k), scale_by_half=k == 2))


def undefined(scores):
    return {name for name, value in scores.items() if np.isnan(value)}


def test_what_needs_a_positive_is_nan_without_one():
    got = score(np.array([0, 0, 0]), two([0.1, 0.2, 0.3]), positive=1)
    assert undefined(got) == {"balanced_accuracy", "auroc", "auprc", "sensitivity", "f1", "mcc"}
    assert got["specificity"] == got["accuracy"] == 1


def test_what_needs_a_negative_is_nan_without_one():
    got = score(np.array([1, 1]), two([0.9, 0.2]), positive=1)
    assert undefined(got) == {"balanced_accuracy", "auroc", "auprc", "specificity", "mcc"}
    assert got["sensitivity"] == 1 / 2
    assert got["f1"] == pytest.approx(2 / 3)


def test_f1_is_zero_when_only_false_positives_are_said():
    assert score(np.array([0, 0]), two([0.9, 0.1]), positive=1)["f1"] == 0


def test_averages_over_classes_are_nan_when_one_of_three_is_absent():
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]])
    assert undefined(score(np.array([0, 1]), p, positive=1)) == {"balanced_accuracy", "auroc", "auprc", "mcc"}


def oof(*rows):
    """A table of (repeat, fold, target, p/present)."""
    frame = pd.DataFrame(rows, columns=["repeat", "fold", "target", "p/present"])
    return frame.assign(**{"p/absent": 1 - frame["p/present"]})


# Fold 0: four of four right. Fold 1: one of two.
TWO_FOLDS = [
    (0, 0, "present", 0.9),
    (0, 0, "present", 0.8),
    (0, 0, "absent", 0.2),
    (0, 0, "absent", 0.1),
    (0, 1, "present", 0.7),
    (0, 1, "absent", 0.6),
]


def summary(rows):
    return summarise(oof(*rows), ("absent", "present"), "present")


def test_the_value_pools_the_rows_of_all_folds():
    assert summary(TWO_FOLDS)["accuracy"]["value"] == pytest.approx(5 / 6)


def test_folds_mean_and_sample_deviation_by_hand():
    got = summary(TWO_FOLDS)["accuracy"]
    assert got["folds"] == [1, 0.5]
    assert got["mean"] == pytest.approx(0.75)
    assert got["sd"] == pytest.approx(np.sqrt((0.25**2 + 0.25**2) / (2 - 1)))


def test_the_value_is_the_mean_over_repeats():
    # Repeat 0 pools to 5/6 as above, repeat 1 to 1/2.
    second = [(1, 0, "present", 0.9), (1, 0, "absent", 0.9)]
    assert summary([*TWO_FOLDS, *second])["accuracy"]["value"] == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_a_single_fold_has_no_deviation():
    got = summary(TWO_FOLDS[:4])["accuracy"]
    assert got["mean"] == 1
    assert np.isnan(got["sd"])


def test_a_fold_in_which_a_metric_is_undefined_makes_mean_and_deviation_nan_but_not_the_pooled_value():
    got = summary([*TWO_FOLDS, (0, 2, "absent", 0.3)])["sensitivity"]
    assert got["folds"][:2] == [1, 1]
    assert np.isnan([got["folds"][2], got["mean"], got["sd"]]).all()
    assert got["value"] == 1


def test_classes_are_matched_by_name_not_by_order():
    forward = summarise(oof(*TWO_FOLDS), ("absent", "present"), "present")
    backward = summarise(oof(*TWO_FOLDS), ("present", "absent"), "present")
    for name in METRICS:
        assert backward[name]["value"] == pytest.approx(forward[name]["value"])
