import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.metrics.curves import best_rate, net_benefit

SEEDS = st.integers(0, 10**6)
SHARES = st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0])


def drawn(seed):
    """Classes and probabilities with ties."""
    rng = np.random.default_rng(seed)
    is_class = np.r_[True, False, rng.random(18) < 0.4]
    return is_class, np.round(np.clip(rng.normal(0.4 + 0.3 * is_class, 0.25), 0, 1), 1)


def operating_points(is_class, p):
    """(sensitivity, specificity) at every threshold that differs."""
    said = [p >= threshold for threshold in [*np.unique(p), np.inf]]
    return [(said_[is_class].mean(), 1 - said_[~is_class].mean()) for said_ in said]


@given(SEEDS, SHARES)
@settings(max_examples=40, deadline=None)
def test_the_best_of_all_thresholds_is_found(seed, least):
    is_class, p = drawn(seed)
    points = operating_points(is_class, p)
    bound = least - 1e-9
    assert best_rate(is_class, p, "specificity", least) == pytest.approx(max(sens for sens, spec in points if spec >= bound))
    assert best_rate(is_class, p, "sensitivity", least) == pytest.approx(max(spec for sens, spec in points if sens >= bound))


def test_operating_points_by_hand():
    # Of five negatives one may be called positive: the threshold is 0.6, and three of four positives are found.
    is_class = np.array([True] * 4 + [False] * 5)
    p = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.2, 0.2, 0.1])
    assert best_rate(is_class, p, "specificity", 0.8) == pytest.approx(3 / 4)
    assert best_rate(is_class, p, "sensitivity", 1.0) == pytest.approx(3 / 5)


@pytest.mark.parametrize("bounded", ["specificity", "sensitivity"])
@pytest.mark.parametrize("present", [True, False])
def test_a_missing_class_has_no_operating_point(bounded, present):
    assert np.isnan(best_rate(np.full(3, present), np.array([0.1, 0.5, 0.9]), bounded, 0.9))


def test_net_benefit_by_hand():
    is_class, p = np.array([True, True, False, False, False]), np.array([0.9, 0.3, 0.6, 0.2, 0.1])
    # At 0.2: 2 true, 2 false at odds 1/4. At 0.5: 1 and 1 at odds 1. At 0.75: 1 and 0.
    expected = [2 / 5 - 2 / 5 / 4, 0, 1 / 5]
    assert net_benefit(is_class, p, [0.2, 0.5, 0.75]) == pytest.approx(expected)


def test_acting_on_every_row_by_hand():
    is_class = np.array([True, False, False, False])
    assert net_benefit(is_class, np.ones(4), [0, 0.2, 0.25, 0.5]) == pytest.approx(
        [1 / 4, 1 / 4 - 3 / 4 / 4, 0, 1 / 4 - 3 / 4]
    )


@given(SEEDS, st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_no_curve_passes_that_of_perfect_predictions(seed, thresholds):
    is_class, p = drawn(seed)
    perfect = net_benefit(is_class, is_class.astype(float), thresholds)
    assert perfect == pytest.approx([is_class.mean()] * len(thresholds))
    assert (net_benefit(is_class, p, thresholds) <= perfect).all()


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_below_the_lowest_probability_every_row_is_acted_on(seed):
    is_class, p = drawn(seed)
    low = [min(p.min(), 0.9)]
    assert net_benefit(is_class, p, low) == pytest.approx(net_benefit(is_class, np.ones(len(p)), low))
