import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.svm import LinearSVC

from lightning_modules.linear_svm import decide, fit_linear


@pytest.mark.parametrize("c", [0.01, 1.0, 10.0])
@pytest.mark.parametrize(("rows", "features"), [(400, 20), (60, 200)])
@pytest.mark.parametrize("flipped", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_minimum_is_that_of_linear_svc(c: float, rows: int, features: int, flipped: float, dtype: type) -> None:
    z, target = make_classification(rows, features, n_informative=5, flip_y=flipped, random_state=0)
    z = z.astype(dtype)
    sign, cost = np.where(target, 1.0, -1.0), np.full(rows, c)
    expected = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000).fit(z.astype(np.float64), target).decision_function(z)
    found = decide(z, fit_linear(z, sign, cost, np.zeros(features + 1)))
    np.testing.assert_allclose(found, expected, atol=(1e-6 if dtype == np.float64 else 1e-4) * np.abs(expected).max())


def test_where_it_starts_does_not_matter_and_rows_of_no_cost_are_not_fitted_on() -> None:
    rng = np.random.default_rng(0)
    z, sign = rng.normal(size=(300, 10)), rng.choice([-1.0, 1.0], 300)
    cost = np.where(np.arange(300) < 200, 1.0, 0.0)
    cold = fit_linear(z, sign, cost, np.zeros(11))
    np.testing.assert_allclose(fit_linear(z, sign, cost, rng.normal(size=11)), cold, rtol=1e-5)
    np.testing.assert_allclose(fit_linear(z[:200], sign[:200], cost[:200], np.zeros(11)), cold, rtol=1e-5)


def test_more_rows_than_are_copied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z, sign, cost = rng.normal(size=(300, 10)), rng.choice([-1.0, 1.0], 300), np.ones(300)
    whole = fit_linear(z, sign, cost, np.zeros(11))
    monkeypatch.setattr("lightning_modules.linear_svm.CHUNK", 7)
    np.testing.assert_allclose(fit_linear(z, sign, cost, np.zeros(11)), whole, rtol=1e-9)
