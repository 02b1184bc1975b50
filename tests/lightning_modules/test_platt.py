import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from lightning_modules.platt import platt


def test_platt_is_logistic_regression_when_there_are_many_rows() -> None:
    rng = np.random.default_rng(0)
    decision = rng.normal(size=20_000)
    positive = rng.uniform(size=20_000) < expit(2.0 * decision - 0.7)
    slope, offset = platt(decision, positive)
    reference = LogisticRegression(C=np.inf).fit(decision[:, None], positive)
    assert slope == pytest.approx(reference.coef_[0, 0], rel=5e-3)
    assert offset == pytest.approx(reference.intercept_[0], abs=5e-3)


def test_balanced_platt_puts_the_even_odds_where_classes_of_equal_frequency_have_them() -> None:
    rng = np.random.default_rng(0)
    decision = np.concatenate([rng.normal(1, 1, 200), rng.normal(-1, 1, 20_000)])
    positive = np.arange(20_200) < 200
    slope, offset = platt(decision, positive, balanced=True)
    # two unit normals at ±1 with equal weight: log odds = 2 · decision
    assert slope == pytest.approx(2.0, rel=0.15)
    assert offset == pytest.approx(0.0, abs=0.15)


def test_separable_decisions_still_calibrate_to_finite_probabilities() -> None:
    slope, offset = platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    # Platt's soft targets (2 + 1) / (2 + 2) = 3/4 keep the probabilities off 0 and 1
    assert 0.6 < expit(slope * 1.5 + offset) < 0.9
