import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.core import partition as module
from experiment.core.partition import even_sizes, group_counts, partition

# 11 groups of unlike size, none like another.
UNLIKE = np.array(
    [(76, 14), (61, 9), (50, 10), (49, 6), (37, 8), (35, 5), (31, 4), (24, 6), (22, 3), (17, 3), (14, 1)], dtype=np.int64
)


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(module) == (0, 4)


def test_groups_are_numbered_and_their_classes_counted() -> None:
    group = np.array(["b", "a", "b", "c", "b"], dtype=object)
    member, counts = group_counts(group, np.array([0, 1, 1, 0, 1]), 2)
    assert member.tolist() == [1, 0, 1, 2, 1]
    assert counts.tolist() == [[0, 1], [1, 2], [1, 0]]


@given(
    pure=st.lists(st.integers(1, 30), min_size=5, max_size=12),
    mixed=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=8),
    bins=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_each_bin_holds_every_class_and_leaves_the_spare_groups_outside(
    pure: list[int], mixed: list[tuple[int, int]], bins: int, seed: int
) -> None:
    counts = np.array([(n, 0) for n in pure] + [(0, n) for n in pure] + mixed, dtype=np.int64)
    placed = partition(counts, [1 / bins] * bins, 1, seed)
    assert placed is not None
    for number in range(bins):
        assert (counts[placed == number].sum(axis=0) > 0).all()
        assert ((counts[placed != number] > 0).sum(axis=0) >= 1).all()
    np.testing.assert_array_equal(placed, partition(counts, [1 / bins] * bins, 1, seed))


def test_the_seed_matters_when_no_two_groups_are_alike() -> None:
    found = set()
    for seed in range(20):
        placed = partition(UNLIKE, [0.2] * 5, 1, seed)
        assert placed is not None
        found.add(frozenset(frozenset(np.flatnonzero(placed == number).tolist()) for number in range(5)))
    assert len(found) > 5


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_bins_take_their_proportion_of_many_groups(share: float) -> None:
    counts = np.random.default_rng(0).integers(1, 4, size=(200, 2))
    placed = partition(counts, [1 - share, share], 1, 0)
    assert placed is not None
    np.testing.assert_allclose(counts[placed == 1].sum(axis=0) / counts.sum(axis=0), share, atol=0.02)


def test_three_groups_that_share_three_classes_in_pairs_have_no_two_bins() -> None:
    # Each class is in two of the three groups; of two bins one holds a single group, which lacks a class.
    assert partition(np.array([(1, 1, 0), (0, 1, 1), (1, 0, 1)]), [0.5, 0.5], 1, 0) is None


@given(
    kinds=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=4),
    copies=st.integers(6, 15),
    order=st.permutations(range(4)),
    bins=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_classes_changes_no_bin(
    kinds: list[list[int]], copies: int, order: list[int], bins: int, seed: int
) -> None:
    counts = np.concatenate(
        [np.repeat(np.array(kinds, dtype=np.int64), copies, axis=0), np.eye(4, dtype=np.int64)[[0, 1, 2, 3] * 7]]
    )
    placed, renamed = partition(counts, [1 / bins] * bins, 1, seed), partition(counts[:, order], [1 / bins] * bins, 1, seed)
    assert placed is not None
    np.testing.assert_array_equal(placed, renamed)
    np.testing.assert_array_equal(even_sizes(placed, counts, 1), even_sizes(placed, counts[:, order], 1))


@given(rows=st.lists(st.integers(8, 60), min_size=2, max_size=6), bins=st.integers(2, 7), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_bins_of_single_images_differ_by_one_at_most_in_all_and_of_each_class(rows: list[int], bins: int, seed: int) -> None:
    counts = np.repeat(np.eye(len(rows), dtype=np.int64), rows, axis=0)
    placed = partition(counts, [1 / bins] * bins, 1, seed)
    assert placed is not None
    loads = np.stack([counts[even_sizes(placed, counts, 1) == number].sum(axis=0) for number in range(bins)])
    assert np.ptp(loads.sum(axis=1)) <= 1
    assert (np.ptp(loads, axis=0) <= 1).all()


@given(
    groups=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=6, max_size=20),
    bins=st.integers(2, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_sizes_of_bins_come_closer_and_their_classes_no_further_apart(
    groups: list[tuple[int, int, int]], bins: int, seed: int
) -> None:
    counts = np.array([*groups, *[(2, 1, 1), (1, 2, 1), (1, 1, 2)] * 4], dtype=np.int64)
    placed = partition(counts, [1 / bins] * bins, 2, seed)
    assert placed is not None
    even = even_sizes(placed, counts, 2)
    before, after = (
        np.stack([counts[placement == number].sum(axis=0) for number in range(bins)]) for placement in (placed, even)
    )
    sizes, evened = before.sum(axis=1), after.sum(axis=1)
    assert evened.sum() == sizes.sum()
    assert np.square(evened).sum() <= np.square(sizes).sum()
    unbalance, balance = (np.square(loads / counts.sum(axis=0)).sum() for loads in (before, after))
    assert balance <= unbalance + 1e-9
    for number in range(bins):
        assert (counts[even == number].sum(axis=0) > 0).all()
        assert ((counts[even != number] > 0).sum(axis=0) >= 2).all()
    if np.ptp(sizes) <= 1:
        np.testing.assert_array_equal(even, placed)
    # no group is left that could move on its own to the same end
    for group, own in enumerate(even):
        for other in range(bins):
            moved = np.where(np.arange(len(even)) == group, other, even)
            loads = np.stack([counts[moved == number].sum(axis=0) for number in range(bins)])
            closer = np.square(loads.sum(axis=1)).sum() < np.square(evened).sum()
            no_worse = np.square(loads / counts.sum(axis=0)).sum() <= balance
            complete = (loads > 0).all() and all(((counts[moved != b] > 0).sum(axis=0) >= 2).all() for b in range(bins))
            far = evened[own] - evened[other] > 1
            assert not (closer and no_worse and complete and far)
