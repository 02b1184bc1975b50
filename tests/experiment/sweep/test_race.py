import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from experiment.sweep.race import chance_to_win

K = 5


def folds(values):
    return {f"fold-{number}": float(value) for number, value in enumerate(values)}


def first(values, m):
    return dict(list(folds(values).items())[:m])


# how the others differ from the best has a standard deviation of 0.1, 0.2 and 0.9 between folds
BEST = np.full(K, 0.9)
PATTERN = np.array([-2, -1, 0, 1, 2]) / np.sqrt(2.5)  # standard deviation 1
LAGS_AND_SPREADS = ((0.1, 0.1), (0.2, 0.2), (0.5, 0.9), (0.6, 0.9))
OTHERS = [folds(BEST), *(folds(BEST - lag + spread * PATTERN) for lag, spread in LAGS_AND_SPREADS)]


def test_the_chance_is_that_of_the_mean_over_all_folds_given_the_first_ones():
    spread = np.median([0.1, 0.2])  # of the better half of the other four
    trial = first(BEST - [0.1, 0.2, 0, 0, 0], 2)
    expected = student.cdf(-0.15 / (spread * np.sqrt(1 / 2 - 1 / K)), df=K - 1)
    assert chance_to_win(trial, OTHERS, K) == pytest.approx(expected)


def test_with_few_others_nothing_is_given_up():
    assert chance_to_win(first(BEST - 0.5, 4), OTHERS[:2], K) == 1


def test_the_same_folds_as_the_best_have_an_even_chance():
    assert chance_to_win(first(BEST, 3), OTHERS, K) == pytest.approx(0.5)


@given(st.integers(1, K - 1), st.floats(0.01, 0.3), st.floats(0.01, 0.3))
def test_a_larger_lag_and_more_folds_leave_a_smaller_chance(m, lag, further):
    chance = chance_to_win(first(BEST - lag, m), OTHERS, K)
    assert chance < 0.5
    assert chance_to_win(first(BEST - lag - further, m), OTHERS, K) < chance
    if m + 1 < K:
        assert chance_to_win(first(BEST - lag, m + 1), OTHERS, K) < chance


@given(st.floats(-0.3, 0.3), st.floats(-1, 1))
def test_how_hard_the_folds_are_does_not_matter(lag, hardness):
    moved = [{name: value + hardness for name, value in other.items()} for other in OTHERS]
    here = chance_to_win(first(BEST - lag, 2), OTHERS, K)
    assert chance_to_win(first(BEST - lag + hardness, 2), moved, K) == pytest.approx(here, abs=1e-6)


def test_without_any_spread_the_first_fold_decides():
    same = [folds(BEST), folds(BEST - 0.1), folds(BEST - 0.2)]
    assert chance_to_win(first(BEST - 0.01, 1), same, K) == 0
    assert chance_to_win(first(BEST, 1), same, K) == 1


def test_few_winners_are_given_up():
    """Of trials that end above the best of 20 others, a race at 0.05 gives up about that share or less, over all its looks."""
    rng = np.random.default_rng(0)
    lost = winners = saved = total = 0
    for _ in range(3000):
        hardness = rng.normal(0, 0.03, K)
        others = [folds(hardness + rng.normal(0, 0.02) + rng.normal(0, 0.015, K)) for _ in range(10)]
        trial = hardness + rng.normal(0, 0.02) + rng.normal(0, 0.015, K)
        best = max(np.mean(list(other.values())) for other in others)
        at = next((m for m in range(1, K) if chance_to_win(first(trial, m), others, K) < 0.05), K)
        saved, total = saved + K - at, total + K
        if trial.mean() > best:
            winners += 1
            lost += at < K
    assert lost / winners < 0.08
    assert saved / total > 0.3
