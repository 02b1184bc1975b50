import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiment.metrics import bootstrap
from experiment.metrics.bootstrap import JACKKNIFED, STRATIFY_BELOW, Bootstrap, Clusters
from experiment.metrics.weighted import scores

SEEDS = st.integers(0, 10**6)


def patients(*shown):
    """Clusters of patients who show these classes, one image a class: ``patients("01", "0")`` has two patients."""
    rows = [(int(target), f"g{number:03d}") for number, classes in enumerate(shown) for target in classes]
    target, group = zip(*rows, strict=True)
    return Clusters.of(np.array(target), np.array(group, dtype=object))


def mean_of(values):
    """The mean of the rows as a statistic."""
    return lambda weight: {"mean": weight @ values / weight.sum(axis=1)}


def independent(n):
    return Clusters(np.arange(n), np.zeros(n, dtype=np.intp))


def given_distribution(value, resampled, left_out=(), strata=None, count=20):
    stratum = np.zeros(count, dtype=np.intp) if strata is None else np.asarray(strata)
    left_out = np.asarray(left_out, dtype=float) if len(left_out) else np.full(len(stratum), value)
    clusters = Clusters(np.arange(len(stratum)), stratum)
    return Bootstrap(clusters, {"x": value}, {"x": np.asarray(resampled, dtype=float)}, {"x": left_out})


@pytest.mark.parametrize(("positives", "strata"), [(STRATIFY_BELOW - 1, 2), (STRATIFY_BELOW, 1)])
def test_strata_appear_only_where_few_patients_show_a_class(positives, strata):
    clusters = patients(*["1"] * positives, *["0"] * 20)
    assert len(set(clusters.stratum)) == strata


def test_patients_who_show_the_same_classes_share_a_stratum():
    stratum = patients("0", "01", "1", "0", "01", "1").stratum
    assert stratum.tolist() == [stratum[0], stratum[1], stratum[2]] * 2
    assert len(set(stratum)) == 3


def test_a_patient_alone_in_its_stratum_joins_the_largest():
    stratum = patients("0", "0", "0", "1", "1", "01").stratum
    assert stratum[5] == stratum[0] != stratum[3]


@pytest.mark.parametrize("shown", [["0", "1"], ["01"]])
def test_hardly_any_patients_are_one_stratum(shown):
    assert set(patients(*shown).stratum) == {0}


def test_rows_of_a_group_are_one_patient_in_any_order():
    clusters = Clusters.of(np.array([0, 1, 0, 1]), np.array(["b", "a", "b", "c"], dtype=object))
    assert clusters.of_row.tolist() == [1, 0, 1, 2]
    assert clusters.count == 3


@given(st.lists(st.sampled_from(["0", "1", "01"]), min_size=2, max_size=30), SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_resample_draws_as_many_patients_as_there_are_in_every_stratum(shown, seed):
    clusters = patients(*shown, "01")
    drawn = clusters.resamples(50, seed)
    assert drawn.shape == (50, len(shown) + 1)
    assert (drawn == drawn.round()).all()
    for stratum in set(clusters.stratum):
        members = clusters.stratum == stratum
        assert (drawn[:, members].sum(axis=1) == members.sum()).all()


def test_every_patient_is_drawn_equally_often():
    drawn = independent(10).resamples(4000, seed=0)
    # Binomial(10, 1/10): mean 1, variance 0.9.
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=4 * np.sqrt(0.9 / 4000))
    np.testing.assert_allclose(drawn.var(axis=0), 0.9, atol=0.15)


def test_patients_are_drawn_and_left_out_whole():
    of_row = np.array([0, 1, 1, 2, 2, 2])
    seen = []

    def statistic(weight):
        seen.append(weight)
        return {"rows": weight.sum(axis=1)}

    run = Bootstrap.run(statistic, Clusters(of_row, np.zeros(3, dtype=np.intp)), resamples=30)
    for weight in seen:
        assert (weight == weight[:, [0, 1, 1, 3, 3, 3]]).all()
    assert run.value == {"rows": 6}
    assert run.left_out["rows"].tolist() == [5, 4, 3]


def test_with_strata_no_resample_lacks_a_class():
    clusters = patients(*["1"] * 2, *["0"] * 30)
    target = np.r_[1, 1, np.zeros(30, dtype=int)]
    p = np.random.default_rng(0).dirichlet(np.ones(2), 32)
    run = Bootstrap.run(lambda weight: scores(target, p, 1, weight), clusters, 500)
    assert np.isfinite(run.resampled["balanced_accuracy"]).all()


def test_the_seed_decides_the_resamples_also_of_another_statistic():
    values = np.random.default_rng(0).normal(size=12)
    first, again, other = (Bootstrap.run(mean_of(values), independent(12), 50, seed).resampled["mean"] for seed in (3, 3, 4))
    doubled = Bootstrap.run(mean_of(2 * values), independent(12), 50, 3).resampled["mean"]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(doubled, 2 * first)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(("ours", "theirs"), [("bca", "BCa"), ("percentile", "percentile")])
@given(SEEDS, st.sampled_from([0.9, 0.95]))
@settings(max_examples=10, deadline=None)
def test_the_interval_is_that_of_scipy_taken_further_out(ours, theirs, seed, level):
    # scipy has no correction for few rows; at the level that Student's t asks for it gives the same.
    rng = np.random.default_rng(seed)
    x, n = rng.exponential(size=25), 25
    wider = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    expected = stats.bootstrap(
        (x,), np.mean, n_resamples=999, method=theirs, rng=rng, confidence_level=2 * stats.norm.cdf(wider) - 1
    )
    left_out = (x.sum() - x) / (n - 1)
    got = given_distribution(x.mean(), expected.bootstrap_distribution, left_out, count=n).interval("x", level, ours)
    assert got == pytest.approx(tuple(expected.confidence_interval))


def test_resampling_independent_rows_gives_the_interval_of_scipy():
    x = np.random.default_rng(1).exponential(size=30)
    wider = np.sqrt(30 / 29) * stats.t.ppf(0.975, 29)
    expected = stats.bootstrap((x,), np.mean, n_resamples=20_000, rng=2, confidence_level=2 * stats.norm.cdf(wider) - 1)
    got = Bootstrap.run(mean_of(x), independent(30), 20_000).interval("mean")
    # A 1 % quantile of 20,000 has a standard error of sqrt(0.01 / 20,000) / 0.027 = 0.026 standard errors of the mean.
    assert got == pytest.approx(tuple(expected.confidence_interval), abs=4 * 0.026 * np.sqrt(2) * expected.standard_error)


def test_strata_cost_a_degree_of_freedom_each():
    quantiles = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    got = given_distribution(0.0, quantiles, strata=[0] * 6 + [1] * 6).interval("x")
    assert got[1] == pytest.approx(np.sqrt(12 / 10) * stats.t.ppf(0.975, 10), rel=1e-3)
    assert got[0] == pytest.approx(-got[1])


def test_the_acceleration_of_strata_by_hand():
    # Of two means added, leaving out i of n moves one by (mean - x) / (n - 1); its influence on the sum is (x - mean) / n.
    rng = np.random.default_rng(3)
    x, y = rng.exponential(size=5), rng.exponential(size=15)
    left_out = np.r_[(x.sum() - x) / 4 + y.mean(), (y.sum() - y) / 14 + x.mean()]
    influence = np.r_[(x - x.mean()) / 5, (y - y.mean()) / 15]
    a = np.sum(influence**3) / (6 * np.sum(influence**2) ** 1.5)
    quantiles = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    got = given_distribution(0.0, quantiles, left_out, strata=[0] * 5 + [1] * 15).interval("x")
    z = np.sqrt(20 / 18) * stats.t.ppf(0.975, 18) * np.array([-1, 1])
    assert abs(a) > 0.03
    assert got == pytest.approx(tuple(z / (1 - a * z)), rel=1e-2)


@given(st.floats(-3, 3), st.floats(0.1, 5), SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_interval_moves_and_stretches_with_the_statistic(shift, factor, seed):
    x = np.random.default_rng(seed).exponential(size=15)
    plain = Bootstrap.run(mean_of(x), independent(15), 300, seed).interval("mean")
    moved = Bootstrap.run(mean_of(shift + factor * x), independent(15), 300, seed).interval("mean")
    assert plain[0] < plain[1]
    assert moved == pytest.approx(tuple(shift + factor * np.array(plain)))


def test_resamples_that_equal_the_value_are_no_bias():
    coarse = given_distribution(0.0, np.round(2 * stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)) / 2)
    assert coarse.interval("x") == coarse.interval("x", method="percentile")


def test_a_statistic_that_never_varies_has_an_interval_without_width():
    run = Bootstrap.run(mean_of(np.full(10, 0.7)), independent(10), 100)
    assert run.interval("mean") == pytest.approx((0.7, 0.7))


def test_an_undefined_statistic_has_an_undefined_interval():
    assert np.isnan(given_distribution(float("nan"), np.arange(100)).interval("x")).all()


@pytest.mark.parametrize(("undefined", "known"), [(5, True), (6, False)])
def test_a_twentieth_of_undefined_resamples_is_the_most(undefined, known):
    resampled = np.r_[np.full(undefined, np.nan), np.arange(100 - undefined)]
    assert np.isfinite(given_distribution(50.0, resampled).interval("x")).all() == known


def test_chunks_change_nothing(monkeypatch):
    values, of_row = np.random.default_rng(0).normal(size=9), np.array([0, 0, 1, 1, 1, 2, 3, 3, 4])
    clusters = Clusters(of_row, np.zeros(5, dtype=np.intp))
    whole = Bootstrap.run(mean_of(values), clusters, 50)
    monkeypatch.setattr(bootstrap, "CELLS", 7 * 9)
    parts = Bootstrap.run(mean_of(values), clusters, 50)
    np.testing.assert_allclose(parts.resampled["mean"], whole.resampled["mean"], rtol=1e-12)
    np.testing.assert_allclose(parts.left_out["mean"], whole.left_out["mean"], rtol=1e-12)


def test_many_patients_are_not_left_out_one_by_one():
    n = JACKKNIFED + 1
    x = np.random.default_rng(0).normal(size=n)
    run = Bootstrap.run(mean_of(x), independent(n), 500)
    assert run.left_out == {}
    low, high = run.interval("mean")
    assert high - low == pytest.approx(2 * 1.96 * x.std() / np.sqrt(n), rel=0.15)


def test_two_thousand_resamples_of_five_models_take_seconds():
    rng = np.random.default_rng(0)
    target, group = rng.integers(0, 2, 910), rng.integers(0, 40, 910).astype(object)
    started = time.perf_counter()
    for _ in range(5):
        p = rng.dirichlet(np.ones(2), 910)
        Bootstrap.run(lambda weight, p=p: scores(target, p, 1, weight), Clusters.of(target, group), 2000)
    assert time.perf_counter() - started < 15
