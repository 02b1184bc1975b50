from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from experiment.metrics import bootstrap
from experiment.metrics.bootstrap import Bootstrap, Clusters
from experiment.metrics.comparison import delong, delong_test, detectable_difference, holm, mcnemar, permutation_test
from experiment.metrics.scores import METRICS, score
from experiment.metrics.weighted import ranking_scores

SEEDS = st.integers(0, 10**6)


def two(present):
    return np.stack([1 - present, present], axis=-1)


def drawn(patients, each=4, skills=(1.0, 1.0), seed=0, repeats=1):
    """Targets (N,), two models' probabilities (R, N, 2) of different skill, and patients (N,)."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), each)
    target = np.arange(len(patient)) % 2
    effect = rng.normal(size=(2, 1, patients))[:, :, patient]
    x = np.reshape(skills, (2, 1, 1)) * (2 * target - 1) + effect + rng.normal(size=(2, repeats, len(patient)))
    return target, *two(1 / (1 + np.exp(-x))), patient


def brute_force(target, first, second, positive, patient):
    """The p-values by a loop over all swaps, with the engine's own metrics on tables in which rows are swapped."""
    ranks = [np.stack([stats.rankdata(p, axis=0) for p in model]) for model in (first, second)]

    def difference(swap):
        rows = np.array(swap)[patient][:, None]
        out = {}
        for names, (a, b) in ((set(METRICS) - {"auroc", "auprc"}, (first, second)), ({"auroc", "auprc"}, ranks)):
            for x, y in zip(a, b, strict=True):
                one, other = score(target, np.where(rows, y, x), positive), score(target, np.where(rows, x, y), positive)
                out |= {name: out.get(name, 0) + one[name] - other[name] for name in names}
        return out

    every = [difference(swap) for swap in product([False, True], repeat=patient.max() + 1)]
    return {name: np.mean([abs(d[name]) >= abs(every[0][name]) - 1e-9 for d in every]) for name in METRICS}


@pytest.mark.parametrize(("k", "repeats"), [(2, 1), (2, 2), (3, 1)])
@given(SEEDS)
@settings(max_examples=3, deadline=None)
def test_with_few_patients_all_swaps_are_counted(k, repeats, seed):
    rng = np.random.default_rng(seed)
    patient = np.array([0, 0, 1, 2, 2, 2, 3, 3])
    target = np.r_[np.arange(k), rng.integers(0, k, len(patient) - k)]
    first, second = rng.multinomial(5, np.ones(k) / k, size=(2, repeats, len(patient))) / 5
    got = permutation_test(target, first, second, k - 1, patient)
    assert got == pytest.approx(brute_force(target, first, second, k - 1, patient))


def test_delong_gives_the_published_error_of_a_published_example():
    """109 computed tomograms rated 1 to 5 (Hanley & McNeil, Radiology 1982); figures of `roctab` in Stata's manual."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    rating = np.r_[np.repeat(range(1, 6), normal), np.repeat(range(1, 6), abnormal)].astype(float)
    area, covariance = delong(np.repeat([False, True], [sum(normal), sum(abnormal)]), rating[:, None])
    error = float(np.sqrt(covariance[0, 0]))
    assert [round(float(area[0]), 4), round(error, 4)] == [0.8932, 0.0307]
    ends = area[0] + stats.norm.ppf([0.025, 0.975]) * error
    assert [round(float(end), 5) for end in ends] == [0.83295, 0.95339]


def test_the_smallest_exact_p_value_is_two_of_all_swaps():
    target, wrong, right = np.array([0, 1] * 4), two(np.full((1, 8), 0.4)), two(np.array([[0.1, 0.9] * 4]))
    assert permutation_test(target, right, wrong, 1, np.repeat(np.arange(4), 2))["accuracy"] == 2 / 2**4


def test_random_swaps_agree_with_all_of_them():
    target, first, second, patient = drawn(12, skills=(1.2, 0.6), seed=5)
    every = permutation_test(target, first, second, 1, patient, permutations=2**12)
    some = permutation_test(target, first, second, 1, patient, permutations=2**12 - 1)
    for name in METRICS:
        assert some[name] == pytest.approx(every[name], abs=4 * np.sqrt(every[name] * (1 - every[name]) / 2**12) + 1e-3)
    assert 0.01 < every["auroc"] < 0.99


@pytest.mark.parametrize("patients", [5, 30])
def test_identical_models_do_not_differ(patients):
    target, first, _, patient = drawn(patients)
    assert permutation_test(target, first, first, 1, patient) == dict.fromkeys(METRICS, 1.0)


def test_models_that_rank_alike_do_not_differ_in_rank():
    target, first, _, patient = drawn(30)
    got = permutation_test(target, first, two(first[..., 1] ** 3), 1, patient)
    assert got["auroc"] == got["auprc"] == 1
    assert got["brier"] < 0.05


def test_a_clearly_better_model_is_found():
    target, first, second, patient = drawn(30, skills=(3.0, 0.0))
    got = permutation_test(target, first, second, 1, patient)
    assert max(got.values()) < 0.01


@pytest.mark.parametrize("patients", [6, 30])
@given(SEEDS)
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_models_does_not_matter(patients, seed):
    target, first, second, patient = drawn(patients, seed=seed, repeats=2)
    forward = permutation_test(target, first, second, 1, patient, 200)
    assert permutation_test(target, second, first, 1, patient, 200) == pytest.approx(forward)
    assert all(0 < p <= 1 for p in forward.values())


def test_images_that_stand_together_are_swapped_together():
    # Copies of an image add nothing while they are of one patient, and feign certainty when they are not.
    target, first, second, patient = drawn(8, each=2, skills=(1.5, 0.5), seed=1)
    copied = [np.repeat(x, 5, axis=-2) for x in (first, second)]
    one = permutation_test(target, first, second, 1, patient)
    same = permutation_test(np.repeat(target, 5), *copied, 1, np.repeat(patient, 5))
    feigned = permutation_test(np.repeat(target, 5), *copied, 1, np.arange(80))
    assert same["brier"] == one["brier"]
    assert feigned["brier"] < one["brier"] / 5


def test_without_a_class_there_is_no_test():
    target, first, second, patient = drawn(5)
    got = permutation_test(np.zeros_like(target), first, second, 1, patient)
    assert np.isnan([got["balanced_accuracy"], got["auroc"], got["sensitivity"]]).all()
    assert got["accuracy"] == got["specificity"] > 0


def test_chunks_change_nothing(monkeypatch):
    target, first, second, patient = drawn(20)
    whole = permutation_test(target, first, second, 1, patient, 100)
    monkeypatch.setattr(bootstrap, "CELLS", 7 * 2 * len(target))
    assert permutation_test(target, first, second, 1, patient, 100) == whole


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_mcnemar_agrees_with_statsmodels(rows):
    first, second = np.array(rows).T
    table = [[np.sum((first == a) & (second == b)) for b in (True, False)] for a in (True, False)]
    assert mcnemar(first, second) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_mcnemar_by_hand():
    # Five images that only the first gets right: 2 · (1/2)^5.
    assert mcnemar(np.array([True] * 7), np.array([True] * 2 + [False] * 5)) == pytest.approx(2 / 2**5)


def scored(seed, n=30, models=2, clusters=8):
    """Classes, scores (N, M) with ties, and clusters of which some hold one class."""
    rng = np.random.default_rng(seed)
    is_class = np.r_[True, True, False, False, rng.random(n - 4) < 0.4]
    cluster = np.r_[np.arange(clusters), rng.integers(0, clusters, n - clusters)]
    return is_class, np.round(rng.normal(size=(n, models)) + is_class[:, None], 1), cluster


def components(is_class, score):
    """Of each row the share of the other class that it is on the right side of, (N, M), by a loop over pairs."""
    out = np.zeros(score.shape)
    for i, model in np.ndindex(score.shape):
        others = score[is_class != is_class[i], model]
        sign = 1 if is_class[i] else -1
        out[i, model] = np.mean(
            [1.0 if sign * (score[i, model] - o) > 0 else 0.5 if score[i, model] == o else 0.0 for o in others]
        )
    return out


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_delong_agrees_with_a_loop_over_pairs(seed):
    is_class, score, _ = scored(seed, models=3)
    area, covariance = delong(is_class, score)
    v = components(is_class, score)
    assert area == pytest.approx([roc_auc_score(is_class, score[:, model]) for model in range(3)])
    expected = sum(np.cov(v[part].T) / part.sum() for part in (is_class, ~is_class))
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_delong_with_clusters_agrees_with_a_loop_over_clusters(seed):
    # Obuchowski 1997: sums of the components over each cluster, less what they would be at the AUROC.
    is_class, score, cluster = scored(seed)
    area, covariance = delong(is_class, score, cluster)
    v = components(is_class, score) - area
    m, n = is_class.sum(), (~is_class).sum()
    names = set(cluster)
    inside = {c: v[is_class & (cluster == c)].sum(axis=0) for c in names if (is_class & (cluster == c)).any()}
    outside = {c: v[~is_class & (cluster == c)].sum(axis=0) for c in names if (~is_class & (cluster == c)).any()}
    expected = np.zeros((2, 2))
    for r, s in np.ndindex(2, 2):
        s10 = len(inside) / ((len(inside) - 1) * m) * sum(x[r] * x[s] for x in inside.values())
        s01 = len(outside) / ((len(outside) - 1) * n) * sum(y[r] * y[s] for y in outside.values())
        s11 = [sum(inside[c][i] * outside[c][j] for c in inside.keys() & outside.keys()) for i, j in ((r, s), (s, r))]
        expected[r, s] = s10 / m + s01 / n + sum(s11) * len(names) / (len(names) - 1) / (m * n)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_clusters_of_one_row_are_independent_rows(seed):
    # A row is of one class, so no product joins the classes, and the sums over clusters are those over rows.
    is_class, score, _ = scored(seed)
    np.testing.assert_allclose(delong(is_class, score, np.arange(30))[1], delong(is_class, score)[1], atol=1e-12)


@given(SEEDS, st.integers(2, 4))
@settings(max_examples=10, deadline=None)
def test_copies_of_rows_in_their_clusters_add_no_certainty(seed, copies):
    is_class, score, cluster = scored(seed)
    copied = [np.repeat(x, copies, axis=0) for x in (is_class, score, cluster)]
    np.testing.assert_allclose(delong(*copied)[1], delong(is_class, score, cluster)[1], atol=1e-12)


def test_delong_with_clusters_has_the_spread_of_the_cluster_bootstrap():
    target, first, _, patient = drawn(80)
    score, clusters = first[0, :, 1], Clusters(patient, np.zeros(80, dtype=np.intp))
    run = Bootstrap.run(lambda weight: ranking_scores(target, first[0], 1, weight), clusters, 2000)
    variance = delong(target == 1, score[:, None], patient)[1][0, 0]
    assert np.sqrt(variance) == pytest.approx(run.resampled["auroc"].std(), rel=0.1)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_delong_test_is_that_of_the_contrast(seed):
    is_class, score, cluster = scored(seed)
    area, covariance = delong(is_class, score, cluster)
    contrast = np.array([1, -1])
    expected = stats.chi2.sf((contrast @ area) ** 2 / (contrast @ covariance @ contrast), 1)
    assert delong_test(is_class, score, cluster) == pytest.approx(expected)
    assert delong_test(is_class, score[:, ::-1], cluster) == pytest.approx(expected)


def test_models_that_rank_alike_have_one_auroc():
    is_class, score, cluster = scored(0, models=1)
    assert delong_test(is_class, np.c_[score, score**3], cluster) == 1


def test_one_row_of_a_class_is_not_enough_for_delong():
    area, covariance = delong(np.array([True, False, False]), np.zeros((3, 2)))
    assert np.isnan(area).all()
    assert np.isnan(covariance).all()
    assert np.isnan(delong_test(np.array([True, False, False]), np.zeros((3, 2))))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None)
def test_holm_agrees_with_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_an_undefined_p_value_stays_and_does_not_count():
    assert holm([0.02, float("nan"), 0.03]) == pytest.approx([0.04, float("nan"), 0.04], nan_ok=True)


@pytest.mark.parametrize(("power", "level"), [(0.8, 0.05), (0.9, 0.01)])
def test_the_detectable_difference_has_the_power_asked_for(power, level):
    effect = detectable_difference(0.03, power, level) / 0.03
    assert NormalIndPower().power(effect, nobs1=1, alpha=level, ratio=0) == pytest.approx(power, abs=1e-4)
