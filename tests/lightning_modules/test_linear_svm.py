import numpy as np
import pytest
from numpy.typing import NDArray
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
    sign, weight = np.where(target, 1.0, -1.0), np.ones(rows)
    expected = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000).fit(z.astype(np.float64), target).decision_function(z)
    found = decide(z, fit_linear(z, sign, weight, [c])[0])
    np.testing.assert_allclose(found, expected, atol=(1e-6 if dtype == np.float64 else 1e-4) * np.abs(expected).max())


def noise(rows: int, features: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, features)), rng.choice([-1.0, 1.0], rows)


def test_where_it_starts_does_not_matter() -> None:
    z, sign = noise(300, 10)
    path = fit_linear(z, sign, np.ones(300), [0.001, 0.1, 10.0])
    for c, w in zip([0.001, 0.1, 10.0], path, strict=True):
        np.testing.assert_allclose(w, fit_linear(z, sign, np.ones(300), [c])[0], atol=1e-6 * np.abs(w).max())


def test_a_weight_is_so_many_copies_of_a_row_and_none_is_no_row() -> None:
    z, sign = noise(300, 10)
    weight = np.arange(300) % 3
    copied = np.repeat(np.arange(300), weight)
    expected = fit_linear(z[copied], sign[copied], np.ones(len(copied)), [1.0])[0]
    np.testing.assert_allclose(fit_linear(z, sign, weight.astype(float), [1.0])[0], expected, rtol=1e-5)


def test_more_rows_than_are_copied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    z, sign = noise(300, 10)
    whole = fit_linear(z, sign, np.ones(300), [1.0])[0]
    monkeypatch.setattr("lightning_modules.linear_svm.CHUNK", 7)
    np.testing.assert_allclose(fit_linear(z, sign, np.ones(300), [1.0])[0], whole, rtol=1e-9)
