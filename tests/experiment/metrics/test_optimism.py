import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_curve

from experiment.metrics.combiners import NEED_VAL
from experiment.metrics.optimism import Rows, choosers, gaps
from experiment.metrics.scores import score


def predicted(rng, target, members, classes, skill=0.0):
    """Probabilities (M, N, K) of members whose logits stand `skill` higher for the true class."""
    logits = torch.from_numpy(rng.normal(size=(members, len(target), classes)))
    return (logits + skill * torch.nn.functional.one_hot(target, classes)).softmax(dim=-1)


def drawn(seed, folds=3, val=40, test=60, members=6, classes=2, skill=0.0):
    """Tables of folds whose targets mean nothing unless members have skill; every class is in each part."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(folds):
        targets = [torch.from_numpy(rng.permutation(np.arange(count) % classes)) for count in (val, test)]
        out.append(tuple(Rows(predicted(rng, target, members, classes, skill), target) for target in targets))
    return out


@pytest.fixture(scope="module")
def on_noise():
    """Choice to values of honest and naive on labels that mean nothing, one a seed."""
    found = {}
    for seed in range(12):
        for gap in gaps(drawn(seed), positive=1):
            found.setdefault(gap["choice"], []).append((gap["honest"], gap["naive"]))
    return {choice: np.array(values) for choice, values in found.items()}


def test_on_labels_that_mean_nothing_the_honest_path_is_at_chance(on_noise):
    # 180 rows, half of each class: an AUROC at chance has a standard deviation of 0.043, the mean of 12 seeds one of 0.0125.
    for values in on_noise.values():
        assert values[:, 0].mean() == pytest.approx(0.5, abs=3 * 0.0125)


def test_on_labels_that_mean_nothing_choosing_on_the_reported_rows_claims_more_than_chance(on_noise):
    naive = {choice: values[:, 1].mean() for choice, values in on_noise.items()}
    assert naive["weights of stacking"] > 0.6  # it has the most to choose from
    assert naive["best of all combiners and members"] > 0.6
    assert naive["threshold of the logit mean"] > 0.525
    for choice, values in on_noise.items():
        if choice != "weights of rank":  # it learns scales alone, and so has nothing to be optimistic with
            assert (values[:, 1] - values[:, 0]).mean() > 0.015


def test_a_gap_is_naive_less_honest():
    for gap in gaps(drawn(seed=0, members=2, skill=1.0), positive=0):
        assert gap["gap"] == gap["naive"] - gap["honest"]
        assert 0.6 < gap["honest"] < 1


def test_every_learner_is_a_choice_and_so_are_the_best_and_the_threshold():
    found = gaps(drawn(seed=0, members=2), positive=1)
    assert {gap["choice"] for gap in found} == {f"weights of {name}" for name in NEED_VAL} | {
        "best of all combiners and members", "threshold of the logit mean",
    }  # fmt: skip
    assert {gap["metric"] for gap in found} == {"auroc", "balanced_accuracy"}


def test_three_classes_have_no_threshold():
    found = gaps(drawn(seed=0, members=2, classes=3, skill=1.0), positive=1)
    assert {gap["choice"] for gap in found} == {f"weights of {name}" for name in NEED_VAL} | {
        "best of all combiners and members",
    }  # fmt: skip
    assert all(0.6 < gap["honest"] < 1 for gap in found)


def test_without_val_rows_there_is_no_honest_path_and_no_gap():
    assert gaps(drawn(seed=0, val=0), positive=1) == []
    assert gaps([], positive=1) == []


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_decides_as_the_best_point_of_the_roc_curve(positive, seed):
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.permutation(np.arange(50) < 12).astype(np.int64))
    p = predicted(rng, target, 1, 2, skill=1.5)
    choose, metric = choosers(positive, 2)["threshold of the logit mean"]
    got = choose(Rows(p, target))(p)
    # One member: its logit mean is itself.
    truth, ranked = target.numpy() == positive, p[0, :, positive].numpy()
    fall_out, recall, thresholds = roc_curve(truth, ranked)
    cut = thresholds[np.argmax(recall - fall_out)]
    assert (got.argmax(dim=1).numpy() == positive).tolist() == (ranked >= cut).tolist()
    assert score(target.numpy(), got.numpy(), positive)[metric] == pytest.approx(balanced_accuracy_score(truth, ranked >= cut))
    np.testing.assert_allclose(got.sum(dim=1), 1)


def test_a_threshold_cannot_be_learned_from_one_class():
    p = predicted(np.random.default_rng(0), torch.zeros(10, dtype=torch.int64), 1, 2)
    choose, _ = choosers(1, 2)["threshold of the logit mean"]
    np.testing.assert_allclose(choose(Rows(p, torch.zeros(10, dtype=torch.int64)))(p), p[0])


def test_the_best_is_the_member_that_ranks_best_on_the_rows_it_is_chosen_on():
    rng = np.random.default_rng(0)
    target = torch.arange(60) % 2
    perfect = torch.nn.functional.one_hot(target, 2) * 0.8 + 0.1
    p = torch.stack([predicted(rng, target, 1, 2, skill=-3.0)[0], perfect, predicted(rng, target, 1, 2, skill=-3.0)[0]])
    choose, _ = choosers(1, 2)["best of all combiners and members"]
    chosen = choose(Rows(p, target))(p)
    assert score(target.numpy(), chosen.numpy(), positive=1)["auroc"] == 1
