import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from experiment.metrics.scores import METRICS, score
from experiment.metrics.weighted import ranking_scores, scores

SEEDS = st.integers(0, 10**6)


def drawn(k, seed):
    """Targets (N,) that hold every class, probabilities (N, K) with many ties, and a generator."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([np.arange(k), rng.integers(0, k, 20)])
    return target, rng.multinomial(5, np.ones(k) / k, size=len(target)) / 5, rng


def one(values):
    return {name: value[0] for name, value in values.items()}


@pytest.mark.parametrize("k", [2, 3])
@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_agrees_with_scikit_learn_for_integer_weights(k, seed):
    target, p, rng = drawn(k, seed)
    weight = rng.integers(0, 4, len(target))
    weight[:k] += 1
    positive, decided = int(rng.integers(k)), p.argmax(axis=1)
    is_positive, said = target == positive, decided == positive
    ranked = [(target == c, p[:, c]) for c in ([positive] if k == 2 else range(k))]
    expected = {
        "balanced_accuracy": sk.recall_score(target, decided, average="macro", sample_weight=weight),
        "accuracy": sk.accuracy_score(target, decided, sample_weight=weight),
        "auroc": np.mean([sk.roc_auc_score(*pair, sample_weight=weight) for pair in ranked]),
        "auprc": np.mean([sk.average_precision_score(*pair, sample_weight=weight) for pair in ranked]),
        "sensitivity": sk.recall_score(is_positive, said, sample_weight=weight),
        "specificity": sk.recall_score(~is_positive, ~said, sample_weight=weight),
        "f1": sk.f1_score(is_positive, said, sample_weight=weight),
        "mcc": sk.matthews_corrcoef(target, decided, sample_weight=weight),
        "brier": sk.brier_score_loss(target, p, labels=range(k), scale_by_half=k == 2, sample_weight=weight),
    }
    assert one(scores(target, p, positive, weight[None])) == pytest.approx(expected)


@given(st.integers(2, 4), SEEDS)
@settings(max_examples=40, deadline=None)
def test_an_integer_weight_repeats_the_row_also_where_classes_vanish(k, seed):
    target, p, rng = drawn(k, seed)
    weight = rng.integers(0, 3, len(target)) * rng.integers(0, 2, k)[target]
    weight[rng.integers(len(target))] += 1
    positive = int(rng.integers(k))
    repeated = score(np.repeat(target, weight), np.repeat(p, weight, axis=0), positive)
    assert one(scores(target, p, positive, weight[None])) == pytest.approx(repeated, nan_ok=True)


@given(st.integers(2, 3), st.floats(0.1, 10), SEEDS)
@settings(max_examples=20, deadline=None)
def test_only_the_ratio_of_weights_counts(k, factor, seed):
    target, p, rng = drawn(k, seed)
    weight = rng.uniform(0.1, 1, (1, len(target)))
    assert one(scores(target, p, 0, factor * weight)) == pytest.approx(one(scores(target, p, 0, weight)))


def test_sets_of_weights_do_not_see_each_other():
    target, p, rng = drawn(3, seed=0)
    weight = rng.integers(0, 3, (6, len(target)))
    together = scores(target, p, 1, weight)
    alone = [one(scores(target, p, 1, weight[[row]])) for row in range(6)]
    for name, values in together.items():
        np.testing.assert_allclose(values, [row[name] for row in alone])


def test_without_weight_on_positives_what_needs_one_is_nan():
    target = np.array([1, 1, 0, 0])
    present = np.array([0.9, 0.4, 0.2, 0.1])
    got = one(scores(target, np.stack([1 - present, present], axis=1), 1, np.array([[0, 0, 1, 2]])))
    assert {name for name, value in got.items() if np.isnan(value)} == set(METRICS) - {"accuracy", "specificity", "brier"}
    assert got["accuracy"] == got["specificity"] == 1
    assert got["brier"] == pytest.approx((0.2**2 + 2 * 0.1**2) / 3)


def test_a_tie_counts_half():
    # Pairs of a positive and a negative: 3 · 1 tied, 3 · 2 in order.
    is_class, score_, weight = np.array([True, False, False]), np.array([0.5, 0.5, 0.1]), np.array([[3, 1, 2]])
    areas = one(ranking_scores(is_class.astype(np.int64), np.stack([1 - score_, score_], axis=1), 1, weight))
    assert areas == pytest.approx({"auroc": (3 / 2 + 6) / 9, "auprc": 3 / 4})
