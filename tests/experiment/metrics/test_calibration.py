import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss
from torchmetrics.classification import BinaryCalibrationError

from experiment.metrics.calibration import brier_decomposition, reliability, slope_and_intercept

SEEDS = st.integers(0, 10**6)


def drawn(seed, n=200, slope=1.0, shift=0.0):
    """Classes drawn with probabilities whose logits are shift + slope · logit(p), and p."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.02, 0.98, n)
    return rng.random(n) < expit(shift + slope * logit(p)), p


def test_bins_by_hand():
    got = reliability(np.array([False, True, True, True]), np.array([0.12, 0.18, 0.95, 1.0]))
    assert got.predicted == pytest.approx([0.15, 0.975])
    assert got.observed == pytest.approx([0.5, 1])
    assert got.count.tolist() == [2, 2]
    assert got.error == pytest.approx(0.5 * 0.35 + 0.5 * 0.025)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_error_agrees_with_torchmetrics(seed):
    is_class, p = drawn(seed, shift=1)
    expected = BinaryCalibrationError(n_bins=10, norm="l1")(torch.from_numpy(p), torch.from_numpy(is_class).int())
    assert reliability(is_class, p).error == pytest.approx(expected.item(), abs=1e-6)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_parts_add_up_to_the_brier_score(seed):
    is_class, p = drawn(seed)
    got = brier_decomposition(is_class, p)
    assert got["brier"] == pytest.approx(brier_score_loss(is_class, p))
    assert got["reliability"] - got["resolution"] + got["uncertainty"] + got["within_bins"] == pytest.approx(got["brier"])
    assert min(got["reliability"], got["resolution"], got["uncertainty"]) >= 0


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_nothing_is_left_within_bins_that_hold_one_probability(seed):
    rng = np.random.default_rng(seed)
    p = rng.choice([0.15, 0.35, 0.75], 60)
    assert brier_decomposition(rng.random(60) < p, p)["within_bins"] == pytest.approx(0, abs=1e-12)


def test_the_parts_by_hand():
    # Two bins of two: 0.2 with one of two in the class, 0.8 with both. Base rate 3/4.
    got = brier_decomposition(np.array([True, False, True, True]), np.array([0.25, 0.25, 0.85, 0.85]))
    assert got["reliability"] == pytest.approx((0.25**2 + 0.15**2) / 2)
    assert got["resolution"] == pytest.approx((0.25**2 + 0.25**2) / 2)
    assert got["uncertainty"] == pytest.approx(3 / 16)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_slope_and_intercept_agree_with_statsmodels(seed):
    is_class, p = drawn(seed, slope=0.6, shift=0.5)
    slope, intercept = slope_and_intercept(is_class, p)
    free = sm.Logit(is_class.astype(float), sm.add_constant(logit(p))).fit(disp=0)
    held = sm.GLM(is_class.astype(float), np.ones(len(p)), sm.families.Binomial(), offset=logit(p)).fit()
    assert slope == pytest.approx(free.params[1], rel=1e-4)
    assert intercept == pytest.approx(held.params[0], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("slope", [0.5, 1, 2])
def test_the_slope_says_by_how_much_logits_are_too_extreme(slope):
    got, _ = slope_and_intercept(*drawn(seed=0, n=50_000, slope=slope))
    assert got == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_the_intercept_says_by_how_much_logits_are_too_low(shift):
    _, got = slope_and_intercept(*drawn(seed=1, n=50_000, shift=shift))
    assert got == pytest.approx(shift, abs=0.05)


@pytest.mark.parametrize("present", [True, False])
def test_a_missing_class_has_no_calibration_line(present):
    assert np.isnan(slope_and_intercept(np.full(4, present), np.array([0.1, 0.4, 0.6, 0.9]))).all()


def test_certain_probabilities_that_are_right_half_the_time_have_no_slope():
    is_class, p = np.array([True, False, True, False]), np.array([1.0, 0.0, 0.0, 1.0])
    assert slope_and_intercept(is_class, p) == pytest.approx((0, 0), abs=1e-6)
    assert reliability(is_class, p).error == 0.5
