from itertools import product

import numpy as np
import pytest
import torch

from experiment.core.symmetry import N_SYMMETRIES, apply_symmetry, symmetry_indices

SQUARE = torch.tensor([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [[1, 2], [3, 4]]),
        (1, [[2, 4], [1, 3]]),  # a quarter turn against the clock
        (2, [[4, 3], [2, 1]]),
        (3, [[3, 1], [4, 2]]),
        (4, [[2, 1], [4, 3]]),  # left and right swapped
        (5, [[1, 3], [2, 4]]),  # then a quarter turn: the transpose
        (6, [[3, 4], [1, 2]]),
        (7, [[4, 2], [3, 1]]),
    ],
)
def test_each_symmetry_by_hand(index, expected):
    assert apply_symmetry(SQUARE, index).tolist() == expected


@pytest.mark.parametrize("index", range(N_SYMMETRIES))
def test_leading_dimensions_are_left_alone(index):
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    got = apply_symmetry(images, index)
    for batch, channel in product(range(2), range(3)):
        plane = images[batch, channel].numpy()
        expected = np.rot90(np.fliplr(plane) if index >= 4 else plane, index % 4)
        assert np.array_equal(got[batch, channel].numpy(), expected)


def test_the_eight_are_different():
    assert len({tuple(apply_symmetry(SQUARE, index).flatten().tolist()) for index in range(N_SYMMETRIES)}) == N_SYMMETRIES == 8


@pytest.mark.parametrize(
    ("flips", "quarter_turns", "expected"),
    [(False, False, {0}), (False, True, {0, 1, 2, 3}), (True, False, {0, 2, 4, 6}), (True, True, set(range(8)))],
)
def test_which_symmetries_are_chosen(flips, quarter_turns, expected):
    got = symmetry_indices(flips, quarter_turns)
    assert set(got) == expected
    assert len(got) == len(expected)
    assert got[0] == 0


@pytest.mark.parametrize(("flips", "quarter_turns"), list(product([False, True], repeat=2)))
def test_one_chosen_symmetry_after_another_is_again_a_chosen_one(flips, quarter_turns):
    indices = symmetry_indices(flips, quarter_turns)
    images = {tuple(apply_symmetry(SQUARE, index).flatten().tolist()) for index in indices}
    for first, second in product(indices, repeat=2):
        assert tuple(apply_symmetry(apply_symmetry(SQUARE, first), second).flatten().tolist()) in images
