import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import gmean, rankdata

from experiment.metrics.combiners import (
    COMBINERS,
    EPSILON,
    GRID,
    NEED_VAL,
    Combiner,
    Greedy,
    LogitMean,
    Mean,
    Rank,
    Stacking,
    Vote,
    Weighted,
)

SEEDS = st.integers(0, 10**6)


def members(*rows):
    """Probabilities (M, 1, K) of members that saw one row."""
    return torch.tensor(rows, dtype=torch.float64)[:, None]


def drawn(m, n, k, seed):
    """Random probabilities (M, N, K) and targets."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.dirichlet(np.ones(k), (m, n))), torch.from_numpy(rng.integers(0, k, n))


def skilled(target, k, skill, seed):
    """Probabilities (N, K) of a member whose logits stand `skill` higher for the true class; negative is misleading."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(target), k)))
    return (noise + skill * torch.nn.functional.one_hot(target, k)).softmax(dim=-1)


def targets(n, k, seed):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, k, n))


def log_loss(p, target):
    return -p[torch.arange(len(target)), target].log().mean().item()


def test_mean_by_hand():
    assert Mean()(members((0.9, 0.1), (0.5, 0.5)))[0].tolist() == pytest.approx([0.7, 0.3])


def test_logit_mean_by_hand():
    # Odds 9 and 1: their geometric mean is 3, a probability of 3/4.
    assert LogitMean()(members((0.9, 0.1), (0.5, 0.5)))[0].tolist() == pytest.approx([0.75, 0.25])


def test_logit_mean_is_the_normalised_geometric_mean_of_more_classes():
    p, _ = drawn(3, 6, 4, seed=0)
    geometric = gmean(p.numpy(), axis=0)
    np.testing.assert_allclose(LogitMean()(p), geometric / geometric.sum(axis=1, keepdims=True), rtol=1e-9)


def test_vote_gives_the_share_of_members():
    got = Vote()(members((0.6, 0.3, 0.1), (0.4, 0.35, 0.25), (0.1, 0.2, 0.7)))
    assert got[0].tolist() == pytest.approx([2 / 3, 0, 1 / 3])


def test_a_sure_member_cannot_outvote_four_others():
    # Log-odds: log(1 / 1e-6) = 13.8 against 4 · log(0.01 / 0.99) = -18.4. Unbounded it would be infinite.
    got = LogitMean()(members((1.0, 0.0), *[(0.01, 0.99)] * 4))
    assert got[0].argmax() == 1


@pytest.mark.parametrize("name", COMBINERS)
def test_certain_members_give_finite_probabilities(name):
    p = torch.eye(3, dtype=torch.float64).repeat(2, 4, 1)
    combiner = COMBINERS[name](2, 3)
    combiner.fit(p, torch.arange(3).repeat(4).flip(0), torch.ones(p.shape[-1]))
    assert torch.isfinite(combiner(p)).all()


@pytest.mark.parametrize("name", COMBINERS)
@given(st.integers(1, 4), st.integers(2, 5), SEEDS)
@settings(max_examples=10, deadline=None)
def test_rows_sum_to_one_for_any_number_of_members_and_classes(name, m, k, seed):
    p, target = drawn(m, 12, k, seed)
    combiner = COMBINERS[name](m, k)
    combiner.fit(p, target, torch.ones(p.shape[-1]))
    got = combiner(p)
    assert got.shape == (12, k)
    np.testing.assert_allclose(got.sum(dim=1), 1, rtol=1e-9)
    assert (got >= 0).all()


@pytest.mark.parametrize("name", COMBINERS)
@given(st.permutations(range(3)), st.integers(2, 4), SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_order_of_members_does_not_matter(name, order, k, seed):
    p, target = drawn(3, 20, k, seed)
    plain, permuted = COMBINERS[name](3, k), COMBINERS[name](3, k)
    plain.fit(p, target, torch.ones(p.shape[-1]))
    permuted.fit(p[order], target, torch.ones(p.shape[-1]))
    np.testing.assert_allclose(permuted(p[order]), plain(p), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "plain", "error"),
    [("weighted", LogitMean, 1e-9), ("stacking", LogitMean, 1e-9), ("greedy", Mean, 1e-9), ("rank", Mean, 1 / GRID)],
)
def test_before_fitting_a_learner_is_a_mean(name, plain, error):
    p, _ = drawn(3, 8, 3, seed=1)
    np.testing.assert_allclose(COMBINERS[name](3, 3)(p), plain()(p), atol=error)


def test_those_that_need_val_rows_are_those_that_learn():
    learners = {name for name, make in COMBINERS.items() if type(make(2, 2)).fit is not Combiner.fit}
    assert learners == NEED_VAL


def test_weighted_gives_identical_members_equal_weights():
    target = targets(200, 3, seed=2)
    p = skilled(target, 3, skill=1.0, seed=3).repeat(3, 1, 1)
    combiner = Weighted(3, 3)
    combiner.fit(p, target, torch.ones(p.shape[-1]))
    np.testing.assert_allclose(combiner.weight, combiner.weight.mean().expand(3), atol=1e-4)
    assert (combiner(p).argmax(dim=1) == p[0].argmax(dim=1)).all()


def test_weighted_stays_near_the_logit_mean_with_a_single_row():
    # The pull has curvature 2 · 20 · 2 = 80, the loss a slope of at most log 9 = 2.2: a weight moves by less than 0.03.
    p = members((0.9, 0.1), (0.1, 0.9))
    combiner = Weighted(2, 2)
    combiner.fit(p, torch.tensor([0]), torch.ones(p.shape[-1]))
    assert (combiner.weight - 0.5).abs().max() < 0.03
    assert combiner.weight[0] > 0.5 > combiner.weight[1]


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_weighted_gives_an_informative_member_more_than_a_noise_member(seed):
    target = targets(200, 3, seed)
    p = torch.stack([skilled(target, 3, 0.0, seed + 1), skilled(target, 3, 3.0, seed + 2)])
    combiner = Weighted(2, 3)
    combiner.fit(p, target, torch.ones(p.shape[-1]))
    assert combiner.weight[1] > 2 * combiner.weight[0]


def test_weighted_gives_a_misleading_member_nothing_rather_than_less():
    target = targets(300, 2, seed=4)
    p = torch.stack([skilled(target, 2, 2.0, 5), skilled(target, 2, -3.0, 6)])
    combiner = Weighted(2, 2)
    combiner.fit(p, target, torch.ones(p.shape[-1]))
    assert combiner.weight[1] == 0
    assert combiner.weight[0] > 0.5


def test_weighted_minimises_the_log_loss_plus_the_pull():
    # One member, two classes: the same loss written with numpy, minimised by scipy.
    target = targets(100, 2, seed=7)
    p = skilled(target, 2, skill=1.0, seed=8)
    log_p, true = np.log(p.numpy()), target.numpy()

    def loss(weight):
        pooled = weight * log_p
        log_loss = np.log(np.exp(pooled).sum(axis=1)) - pooled[np.arange(100), true]
        return log_loss.sum() + 20 * (weight - 1) ** 2

    combiner = Weighted(1, 2)
    combiner.fit(p[None], target, torch.ones(p.shape[-1]))
    assert combiner.weight.item() == pytest.approx(minimize_scalar(loss, bounds=(0, 10)).x, abs=1e-3)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_stacking_beats_a_bad_member_and_the_mean_that_trusts_it(k):
    def rows(n, seed):
        target = targets(n, k, seed)
        return torch.stack([skilled(target, k, 2.0, seed + 1), skilled(target, k, -2.0, seed + 2)]), target

    combiner = Stacking(2, k)
    combiner.fit(*rows(300, seed=10), torch.ones(k))
    p, target = rows(300, seed=20)
    assert log_loss(combiner(p), target) < log_loss(p[1], target)
    assert log_loss(combiner(p), target) < 0.8 * log_loss(LogitMean()(p), target)


def test_stacking_with_a_single_row_stays_near_the_logit_mean():
    p = members((0.6, 0.4), (0.5, 0.5))
    combiner = Stacking(2, 2)
    combiner.fit(p, torch.tensor([0]), torch.ones(p.shape[-1]))
    assert combiner(p)[0, 0].item() == pytest.approx(LogitMean()(p)[0, 0].item(), abs=0.1)


@pytest.mark.parametrize("name", sorted(NEED_VAL))
def test_what_was_learned_travels_in_the_state_dict(name):
    p, target = drawn(2, 30, 3, seed=11)
    fitted, fresh = COMBINERS[name](2, 3), COMBINERS[name](2, 3)
    fitted.fit(p, target, torch.ones(p.shape[-1]))
    assert not torch.allclose(fitted(p), fresh(p))
    fresh.load_state_dict(copy.deepcopy(fitted.state_dict()))
    assert torch.equal(fitted(p), fresh(p))


@pytest.mark.parametrize("name", COMBINERS)
def test_float32_members_give_float32(name):
    p, target = drawn(2, 10, 3, seed=12)
    combiner = COMBINERS[name](2, 3)
    combiner.fit(p.float(), target, torch.ones(p.shape[-1]))
    assert combiner(p.float()).dtype == torch.float32


@pytest.mark.parametrize(("name", "error"), [("weighted", 1e-4), ("stacking", 1e-4), ("greedy", 1e-9), ("rank", 1 / GRID)])
def test_class_weights_count_like_repeated_rows(name, error):
    rng = np.random.default_rng(0)
    positive = torch.from_numpy(rng.uniform(0.05, 0.95, size=(2, 30)))
    p, target = torch.stack([1 - positive, positive], dim=-1), torch.from_numpy(rng.integers(0, 2, 30))
    weighted, repeated = COMBINERS[name](2, 2), COMBINERS[name](2, 2)
    weighted.fit(p, target, torch.tensor([1.0, 3.0]))
    thrice = torch.cat([torch.arange(30), *[torch.nonzero(target).flatten()] * 2])
    repeated.fit(p[:, thrice], target[thrice], torch.ones(2))
    np.testing.assert_allclose(weighted(p), repeated(p), atol=error)


def caruana(p, target, weight, rounds):
    """How often each member is drawn when every draw tries all members, scores the mean with each, and takes the best."""
    bag = []
    for _ in range(rounds):
        losses = []
        for member in range(len(p)):
            mean = np.mean([p[m] for m in [*bag, member]], axis=0)
            own = mean[np.arange(len(target)), target]
            losses.append(-np.sum(weight[target] * np.log(np.maximum(own, EPSILON))))
        bag.append(int(np.argmin(losses)))
    return np.bincount(bag, minlength=len(p)) / rounds


@given(st.integers(1, 5), st.integers(2, 4), SEEDS)
@settings(max_examples=20, deadline=None)
def test_greedy_draws_what_trying_every_member_draws(m, k, seed):
    target = targets(25, k, seed)
    p = torch.stack([skilled(target, k, skill, seed + member) for member, skill in enumerate(np.linspace(0, 2, m))])
    weight = torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 2, k))
    combiner = Greedy(m, k, rounds=12)
    combiner.fit(p, target, weight)
    expected = caruana(p.numpy(), target.numpy(), weight.numpy(), 12)
    np.testing.assert_allclose(combiner.weight, expected)
    np.testing.assert_allclose(combiner(p), np.einsum("m,mnk->nk", expected, p.numpy()), rtol=1e-12)


@given(st.integers(2, 4), SEEDS)
@settings(max_examples=10, deadline=None)
def test_greedy_gives_a_perfect_member_all_the_weight(k, seed):
    target = targets(30, k, seed)
    perfect = torch.nn.functional.one_hot(target, k).double()
    p = torch.stack([skilled(target, k, 1.0, seed), perfect, skilled(target, k, 2.0, seed + 1)])
    combiner = Greedy(3, k)
    combiner.fit(p, target, torch.ones(k))
    assert combiner.weight.tolist() == [0, 1, 0]


def of_two(positive):
    """Probabilities (M, N, 2) from those of the second class."""
    return torch.stack([1 - positive, positive], dim=-1)


def test_rank_is_the_mean_of_the_members_ranks():
    rng = np.random.default_rng(0)
    p, target = of_two(torch.from_numpy(rng.uniform(size=(3, 400)))), targets(400, 2, seed=1)
    combiner = Rank(3, 2)
    combiner.fit(p, target, torch.ones(2))
    expected = np.mean([(rankdata(member) - 0.5) / 400 for member in p[:, :, 1].numpy()], axis=0)
    np.testing.assert_allclose(combiner(p)[:, 1], expected, atol=1 / GRID)


MONOTONE = [np.square, np.sqrt, lambda x: x / 100, lambda x: 1 / (1 + np.exp(-20 * (x - 0.5))), lambda x: 0.9 + 0.1 * x**3]


@given(st.lists(st.sampled_from(MONOTONE), min_size=2, max_size=2), st.integers(3, 300), SEEDS)
@settings(max_examples=30, deadline=None)
def test_rank_depends_on_the_order_of_each_member_only(transformations, n, seed):
    rng = np.random.default_rng(seed)
    positive, target = rng.uniform(0.01, 0.99, size=(2, n)), targets(n, 2, seed)
    other = np.stack([change(member) for change, member in zip(transformations, positive, strict=True)])
    results = []
    for values in (positive, other):
        combiner, p = Rank(2, 2), of_two(torch.from_numpy(values))
        combiner.fit(p, target, torch.ones(2))
        results.append(combiner(p))
    np.testing.assert_allclose(results[0], results[1], atol=1.5 / GRID)


def test_rank_of_rows_beyond_those_it_learned_on_stays_within_the_grid():
    combiner = Rank(1, 2)
    combiner.fit(of_two(torch.linspace(0.4, 0.6, 50, dtype=torch.float64)[None]), targets(50, 2, seed=2), torch.ones(2))
    below, middle, above = combiner(of_two(torch.tensor([[0.01, 0.5, 0.99]], dtype=torch.float64)))[:, 1].tolist()
    assert 0 < below < 1 / 100
    assert middle == pytest.approx(0.5, abs=1 / GRID)
    assert 99 / 100 < above < 1


def test_rank_takes_a_member_that_always_says_the_same_for_undecided():
    p = torch.stack([of_two(torch.full((20,), 0.9, dtype=torch.float64)), of_two(torch.linspace(0, 1, 20).double())])
    combiner = Rank(2, 2)
    combiner.fit(p, targets(20, 2, seed=3), torch.ones(2))
    alone = Rank(1, 2)
    alone.fit(p[1:], targets(20, 2, seed=3), torch.ones(2))
    np.testing.assert_allclose(combiner(p), (alone(p[1:]) + 0.5) / 2, atol=1 / GRID)
