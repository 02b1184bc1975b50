import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from experiment.core.errors import UserError
from lightning_modules import svm as module
from lightning_modules.platt import platt
from lightning_modules.svm import FittedSVM, fit_svm, inner_folds
from lightning_modules.svm_head import SVMHead
from lightning_modules.svm_settings import SVMSettings


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(module) == (0, 7)


def blobs(rows: int, features: int, classes: int, seed: int, distance: float = 1.0) -> tuple[NDArray, NDArray, NDArray]:
    """Overlapping classes of unequal scale; three rows a group."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    x = rng.normal(size=(rows, features)) * rng.uniform(0.1, 10, features)
    x += distance * target[:, None] * rng.normal(size=features)
    group = np.array([f"g{i // (3 * classes)}" for i in range(rows)], dtype=object)
    return x.astype(np.float32), target, group


def settings_with(**changes: object) -> SVMSettings:
    standard = {
        "kernel": "rbf", "C": 1.0, "gamma": 1.0, "inner_folds": 3, "class_weights": "none",
        "exact_max": 4000, "nystroem": 1000,
    }  # fmt: skip
    return SVMSettings(**{**standard, **changes})  # type: ignore[arg-type]


def filled(svm: FittedSVM, classes: int) -> SVMHead:
    head = SVMHead(svm.support.shape[1], classes)
    head.fill(svm)
    return head


def decisions(svm: FittedSVM, x: NDArray, classes: int) -> NDArray:
    return filled(svm, classes).decision(torch.from_numpy(x)).numpy()


def one_against_the_rest(estimator: BaseEstimator, x: NDArray, target: NDArray) -> NDArray:
    """Decision values (N, M) of scikit-learn's estimator."""
    reference = estimator if len(set(target)) == 2 else OneVsRestClassifier(estimator)
    return reference.fit(x, target).decision_function(x).reshape(len(x), -1)


@pytest.mark.parametrize("solver", ["exact", "linear", "nystroem"])
@pytest.mark.parametrize("weights", ["balanced", "none"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [120, 30])
def test_the_head_gives_scikit_learns_decision_values(solver: str, weights: str, classes: int, rows: int) -> None:
    x, target, group = blobs(rows, 40, classes, seed=1)
    target[:5] = 0  # classes of unlike size
    changes = {"exact": {}, "linear": {"kernel": "linear"}, "nystroem": {"exact_max": 0, "nystroem": 20}}[solver]
    everyone = np.ones(len(x), dtype=bool)
    svm = fit_svm(x, target, group, everyone, classes, settings_with(class_weights=weights, C=3.0, **changes), seed=0)

    scaled = StandardScaler().fit(x).transform(x).astype(np.float64)
    balance = "balanced" if weights == "balanced" else None
    exact = SVC(C=3.0, gamma=1 / 40, class_weight=balance)
    linear = LinearSVC(C=3.0, dual=False, class_weight=balance, tol=1e-10, max_iter=10_000)  # squared hinge
    components = scaled
    if solver == "nystroem":  # with as many components as landmarks scikit-learn takes these
        components = Nystroem(gamma=1 / 40, n_components=20).fit(svm.support.astype(np.float64)).transform(scaled)
    expected = one_against_the_rest(exact if solver == "exact" else linear, components, target)
    np.testing.assert_allclose(decisions(svm, x, classes), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@given(seed=st.integers(0, 1000), distance=st.floats(0.0, 2.0))
@settings(max_examples=10, deadline=None)
def test_the_same_point_is_chosen_as_by_grid_search_on_the_same_splits(seed: int, distance: float) -> None:
    x, target, group = blobs(90, 10, 2, seed, distance)
    grid = {"C": [0.1, 1.0, 10.0], "gamma": [0.1, 1.0]}
    svm = fit_svm(x, target, group, np.ones(len(x), dtype=bool), 2, settings_with(**grid), seed=3)

    scaled = StandardScaler().fit_transform(x)
    folds = inner_folds(target, group, np.ones(len(x), dtype=bool), 3, seed=3)
    # GridSearchCV averages over folds; the criterion here is over all rows: so each point is scored by hand on its splits.
    scores = {}
    for gamma in grid["gamma"]:
        for c in grid["C"]:
            decision = np.zeros(len(x))
            for train, test in folds:
                fitted = SVC(C=c, gamma=gamma / 10).fit(scaled[train], target[train])
                decision[test] = fitted.decision_function(scaled[test])
            scores[gamma, c] = roc_auc_score(target, decision)
    best = max(scores.values())
    assert scores[svm.chosen["gamma"], svm.chosen["C"]] == pytest.approx(best, abs=1e-9)
    assert svm.chosen["inner_auroc"] == pytest.approx(best, abs=1e-9)


def test_grid_search_cv_itself_agrees_where_one_point_is_clearly_best() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2)).astype(np.float32)
    target = (np.linalg.norm(x, axis=1) > 1.2).astype(int)  # a ring: a wide kernel cannot see it
    group = np.array([f"g{i // 3}" for i in range(150)], dtype=object)
    svm = fit_svm(x, target, group, np.ones(150, dtype=bool), 2, settings_with(gamma=[0.001, 1.0], C=[0.01, 10.0]), seed=1)
    folds = inner_folds(target, group, np.ones(150, dtype=bool), 3, seed=1)
    search = GridSearchCV(SVC(), {"gamma": [0.0005, 0.5], "C": [0.01, 10.0]}, scoring="roc_auc", cv=folds)
    search.fit(StandardScaler().fit_transform(x), target)
    assert (svm.chosen["gamma"] / 2, svm.chosen["C"]) == (search.best_params_["gamma"], search.best_params_["C"])


def test_rows_that_are_not_scored_are_always_trained_on_and_never_held_out() -> None:
    x, target, group = blobs(90, 5, 2, seed=0)
    scored = np.arange(90) >= 60
    svm = fit_svm(x, target, group, scored, 2, settings_with(), seed=0)
    assert svm.held_out.shape == (30, 2)
    scaled = StandardScaler().fit_transform(x)
    decision = np.zeros(90)
    for train, test in inner_folds(target, group, scored, 3, seed=0):
        assert set(range(60)) <= set(train)
        decision[test] = SVC(gamma=1 / 5).fit(scaled[train], target[train]).decision_function(scaled[test])
    slope, offset = platt(decision[scored], target[scored] == 1)
    np.testing.assert_allclose(svm.held_out[:, 1], expit(slope * decision[scored] + offset), rtol=1e-4)


def test_permuted_labels_give_chance() -> None:
    x, target, group = blobs(300, 20, 2, seed=5, distance=3.0)
    everyone = np.ones(300, dtype=bool)
    honest = fit_svm(x, target, group, everyone, 2, settings_with(), seed=0)
    shuffled = np.random.default_rng(0).permutation(target)
    permuted = fit_svm(x, shuffled, group, everyone, 2, settings_with(), seed=0)
    assert honest.chosen["inner_auroc"] > 0.95
    assert abs(permuted.chosen["inner_auroc"] - 0.5) < 0.1


@pytest.mark.parametrize("changes", [{}, {"kernel": "linear"}, {"exact_max": 80, "nystroem": 30}])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_survives_a_checkpoint(classes: int, changes: dict[str, object], tmp_path: Path) -> None:
    x, target, group = blobs(90, 6, classes, seed=2)
    head = filled(fit_svm(x, target, group, np.ones(90, dtype=bool), classes, settings_with(**changes), seed=0), classes)
    torch.save(head.state_dict(), tmp_path / "head.pt")
    empty = SVMHead(6, classes)
    empty.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))
    p = empty(torch.from_numpy(x))
    torch.testing.assert_close(p, head(torch.from_numpy(x)), rtol=0, atol=0)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(90, dtype=torch.float64))


def test_the_head_is_differentiable() -> None:
    x, target, group = blobs(60, 6, 2, seed=2)
    head = filled(fit_svm(x, target, group, np.ones(60, dtype=bool), 2, settings_with(), seed=0), 2)
    features = torch.from_numpy(x[:4]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: head(f)[:, 1], (features,))


@given(
    pure=st.lists(st.integers(1, 9), min_size=2, max_size=7),
    mixed=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=6),
    k=st.integers(2, 6),
    unscored=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_inner_folds_keep_groups_together_and_train_on_every_class(
    pure: list[int], mixed: list[tuple[int, int]], k: int, unscored: int, seed: int
) -> None:
    counts = [*((n, 0) for n in pure), *((0, n) for n in pure), *mixed, *[(1, 1)] * unscored]
    target = np.concatenate([np.repeat([0, 1], pair) for pair in counts])
    group = np.repeat([f"g{number}" for number in range(len(counts))], [sum(pair) for pair in counts]).astype(object)
    scored = np.arange(len(target)) < len(target) - 2 * unscored
    folds = inner_folds(target, group, scored, k, seed)
    assert 2 <= len(folds) <= min(k, len(pure) + len(mixed))
    for train, test in folds:
        assert not set(group[train]) & set(group[test])
        assert set(target[train]) == set(target[test]) == {0, 1}
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(target)))
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.flatnonzero(scored))


def test_inner_folds_of_eleven_unlike_groups_differ_from_seed_to_seed() -> None:
    positives = (14, 9, 10, 6, 8, 5, 4, 6, 3, 3, 1)
    sizes = (90, 70, 60, 55, 45, 40, 35, 30, 25, 20, 15)
    target = np.concatenate([np.arange(size) < n for size, n in zip(sizes, positives, strict=True)]).astype(int)
    group = np.repeat([f"g{number}" for number in range(11)], sizes).astype(object)
    everyone = np.ones(len(target), dtype=bool)
    found = {
        frozenset(frozenset(group[test]) for _, test in inner_folds(target, group, everyone, 5, seed)) for seed in range(20)
    }
    assert len(found) > 5


def test_classes_in_three_groups_allow_three_inner_folds() -> None:
    # c and d hold one class each, so that they must be held out together.
    group = np.array(["a", "a", "b", "b", "c", "d"], dtype=object)
    target = np.array([0, 1, 0, 1, 0, 1])
    folds = inner_folds(target, group, np.ones(6, dtype=bool), 5, seed=0)
    assert sorted(sorted(set(group[test])) for _, test in folds) == [["a"], ["b"], ["c", "d"]]


def test_inner_folds_are_fewer_where_no_partition_gives_every_class_to_each() -> None:
    # Each of three classes is in three of five groups, but no group holds all three: three folds would need six groups.
    member = [(0, 1), (1, 2), (0, 2), (0, 1), (2,)]
    group = np.repeat([f"g{number}" for number in range(5)], [len(m) for m in member]).astype(object)
    target = np.concatenate(member)
    assert len(inner_folds(target, group, np.ones(len(target), dtype=bool), 3, seed=0)) == 2


def test_one_group_of_a_class_cannot_be_split() -> None:
    x, target, _ = blobs(20, 4, 2, seed=0)
    group = np.where(target == 1, "only", [f"g{i}" for i in range(20)]).astype(object)
    with pytest.raises(UserError, match=r"on 20 rows.*classes are in 10, 1 groups.*folds\.val"):
        fit_svm(x, target, group, np.ones(20, dtype=bool), 2, settings_with(), seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": "poly"}, "rbf, linear"),
        ({"C": [1.0, -1.0]}, "positive"),
        ({"C": ["many"]}, r"model.svm.C=\['many'\] is not allowed; take a positive number"),
        ({"gamma": float("nan")}, "model.svm.gamma=nan"),
        ({"gamma": []}, "positive"),
        ({"inner_folds": 1}, "2 or more"),
        ({"class_weights": "some"}, "balanced, none"),
        ({"exact_max": -1}, "exact_max=-1 .* 0 .* or more"),
        ({"nystroem": 0}, "nystroem=0 .* 1 component or more"),
    ],
)
def test_wrong_settings_say_what_is_allowed(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings_with(**changes)


def test_one_group_of_scored_rows_is_held_out_whole() -> None:
    x, target, group = blobs(60, 4, 2, seed=0)
    scored = np.arange(60) >= 40
    group[scored] = "only"
    svm = fit_svm(x, target, group, scored, 2, settings_with(), seed=0)
    scaled = StandardScaler().fit_transform(x)
    decision = SVC(gamma=1 / 4).fit(scaled[~scored], target[~scored]).decision_function(scaled[scored])
    assert svm.chosen["inner_auroc"] == pytest.approx(roc_auc_score(target[scored], decision))


def structured(rows: int, seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Classes that no plane separates, hidden in 60 features by 8 factors; three rows a group."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 8))
    x = factors @ rng.normal(size=(8, 60)) + rng.normal(size=(rows, 60))
    target = (factors[:, 0] + factors[:, 1] ** 2 + factors[:, 2] * factors[:, 3] + 0.5 * rng.normal(size=rows) > 1).astype(int)
    return x.astype(np.float32), target, np.array([f"g{i // 3}" for i in range(rows)], dtype=object)


@pytest.mark.parametrize("exact_max", [900, 899])
def test_more_rows_than_allowed_are_approximated(exact_max: int) -> None:
    x, target, group = structured(900, seed=0)
    svm = fit_svm(x, target, group, np.ones(900, dtype=bool), 2, settings_with(exact_max=exact_max, nystroem=150), seed=0)
    if exact_max == 900:
        assert svm.solver == "exact RBF kernel"
        assert svm.chosen["support_vectors"] == len(svm.support)
    else:
        assert svm.solver == "RBF kernel approximated by 150 Nyström components, squared hinge loss"
        assert svm.chosen["nystroem_components"] == len(svm.support) == 150


def test_the_approximation_ranks_new_rows_as_well_as_the_exact_kernel() -> None:
    x, target, group = structured(4000, seed=1)
    fit, new = slice(0, 3000), slice(3000, 4000)
    auroc = []
    for exact_max in (3000, 0):
        changes = {"C": [0.1, 10.0], "exact_max": exact_max, "nystroem": 300}
        svm = fit_svm(x[fit], target[fit], group[fit], np.arange(3000) < 600, 2, settings_with(**changes), seed=0)
        auroc.append(roc_auc_score(target[new], decisions(svm, x[new], 2)[:, 0]))
    assert auroc[0] > 0.9
    assert auroc[1] == pytest.approx(auroc[0], abs=0.01)


def test_landmarks_are_rows_drawn_by_the_seed_and_the_fit_repeats_to_the_bit() -> None:
    x, target, group = structured(400, seed=2)
    first, again, other = (
        fit_svm(x, target, group, np.ones(400, dtype=bool), 2, settings_with(exact_max=0, nystroem=50), seed=seed)
        for seed in (0, 0, 1)
    )
    rows = {row.tobytes() for row in ((x - first.center) / first.scale)}
    assert {row.tobytes() for row in first.support} <= rows
    np.testing.assert_array_equal(first.dual, again.dual)
    assert not np.array_equal(first.support, other.support)


def test_landmarks_that_coincide_do_no_harm() -> None:
    x, target, group = structured(400, seed=3)
    x[1::2], target[1::2] = x[::2], target[::2]
    group = np.array([f"g{i // 4}" for i in range(400)], dtype=object)
    svm = fit_svm(x, target, group, np.ones(400, dtype=bool), 2, settings_with(exact_max=0, nystroem=400), seed=0)
    exact = fit_svm(x, target, group, np.ones(400, dtype=bool), 2, settings_with(), seed=0)
    assert np.abs(decisions(svm, x, 2)).max() < 10
    assert svm.chosen["inner_auroc"] == pytest.approx(exact.chosen["inner_auroc"], abs=0.02)
