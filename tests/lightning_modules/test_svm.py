import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiment.errors import UserError
from lightning_modules.svm import FittedSVM, SVMSettings, fit_svm, platt
from lightning_modules.svm_head import SVMHead


def blobs(rows: int, features: int, classes: int, seed: int, distance: float = 1.0) -> tuple[NDArray, NDArray, NDArray]:
    """Overlapping classes of unequal scale; three rows a group."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    x = rng.normal(size=(rows, features)) * rng.uniform(0.1, 10, features)
    x += distance * target[:, None] * rng.normal(size=features)
    group = np.array([f"g{i // (3 * classes)}" for i in range(rows)], dtype=object)
    return x.astype(np.float32), target, group


def settings_with(**changes: object) -> SVMSettings:
    standard = {"kernel": "rbf", "C": 1.0, "gamma": 1.0, "inner_folds": 3, "class_weights": "none"}
    return SVMSettings(**{**standard, **changes})  # type: ignore[arg-type]


def filled(svm: FittedSVM, classes: int) -> SVMHead:
    head = SVMHead(svm.support.shape[1], classes)
    head.fill(svm)
    return head


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("weights", ["balanced", "none"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_gives_scikit_learns_decision_values(kernel: str, weights: str, classes: int) -> None:
    x, target, group = blobs(120, 40, classes, seed=1)
    everyone = np.ones(len(x), dtype=bool)
    svm = fit_svm(x, target, group, everyone, classes, settings_with(kernel=kernel, class_weights=weights, C=3.0), seed=0)

    scaled = StandardScaler().fit(x).transform(x)
    svc = SVC(C=3.0, kernel=kernel, gamma=1 / 40, class_weight="balanced" if weights == "balanced" else None)
    reference = svc if classes == 2 else OneVsRestClassifier(svc)
    expected = reference.fit(scaled, target).decision_function(scaled).reshape(len(x), -1)

    decisions = filled(svm, classes).decision(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(decisions, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@given(seed=st.integers(0, 1000), distance=st.floats(0.0, 2.0))
@settings(max_examples=10, deadline=None)
def test_the_same_point_is_chosen_as_by_grid_search_on_the_same_splits(seed: int, distance: float) -> None:
    x, target, group = blobs(90, 10, 2, seed, distance)
    grid = {"C": [0.1, 1.0, 10.0], "gamma": [0.1, 1.0]}
    svm = fit_svm(x, target, group, np.ones(len(x), dtype=bool), 2, settings_with(**grid), seed=3)

    scaled = StandardScaler().fit_transform(x)
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=3).split(x, target, group))
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
    folds = list(StratifiedGroupKFold(3, shuffle=True, random_state=1).split(x, target, group))
    search = GridSearchCV(SVC(), {"gamma": [0.0005, 0.5], "C": [0.01, 10.0]}, scoring="roc_auc", cv=folds)
    search.fit(StandardScaler().fit_transform(x), target)
    assert (svm.chosen["gamma"] / 2, svm.chosen["C"]) == (search.best_params_["gamma"], search.best_params_["C"])


def test_rows_that_are_not_scored_are_always_trained_on_and_never_held_out() -> None:
    x, target, group = blobs(90, 5, 2, seed=0)
    scored = np.arange(90) >= 60
    svm = fit_svm(x, target, group, scored, 2, settings_with(), seed=0)
    assert svm.held_out.shape == (30, 2)
    scaled = StandardScaler().fit_transform(x)
    rows = np.flatnonzero(scored)
    decision = np.zeros(90)
    for _, test in StratifiedGroupKFold(3, shuffle=True, random_state=0).split(rows, target[rows], group[rows]):
        train = np.setdiff1d(np.arange(90), rows[test])
        assert set(range(60)) <= set(train)
        decision[rows[test]] = SVC(gamma=1 / 5).fit(scaled[train], target[train]).decision_function(scaled[rows[test]])
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


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_survives_a_checkpoint(classes: int, tmp_path) -> None:  # type: ignore[no-untyped-def]
    x, target, group = blobs(90, 6, classes, seed=2)
    head = filled(fit_svm(x, target, group, np.ones(90, dtype=bool), classes, settings_with(), seed=0), classes)
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


def test_one_group_of_a_class_cannot_be_split() -> None:
    x, target, _ = blobs(20, 4, 2, seed=0)
    group = np.where(target == 1, "only", [f"g{i}" for i in range(20)]).astype(object)
    with pytest.raises(UserError, match=r"fewer than two groups of the 20 rows.*folds\.val"):
        fit_svm(x, target, group, np.ones(20, dtype=bool), 2, settings_with(), seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": "poly"}, "rbf, linear"),
        ({"C": [1.0, -1.0]}, "positive"),
        ({"gamma": []}, "positive"),
        ({"inner_folds": 1}, "2 or more"),
        ({"class_weights": "some"}, "balanced, none"),
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
