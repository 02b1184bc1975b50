import doctest
from itertools import product

import pytest

from experiment.core import seeds as module
from experiment.core.seeds import seed_for


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(module) == (0, 2)


def test_the_same_parts_give_the_same_seed():
    assert seed_for(7, 1, 2, "val") == seed_for(7, 1, 2, "val")


@pytest.mark.parametrize("other", [(8, 1, 2, "val"), (7, 2, 2, "val"), (7, 1, 3, "val"), (7, 1, 2, "folds"), (7, 2, 1, "val")])
def test_each_part_matters_in_its_place(other):
    assert seed_for(*other) != seed_for(7, 1, 2, "val")


def test_no_two_folds_or_stages_share_a_seed():
    parts = list(product(range(5), range(5), range(10), ("folds", "val", "lightning_modules.resnet.ResNet")))
    assert len({seed_for(*part) for part in parts}) == len(parts) == 750


def test_seeds_fit_into_32_bits():
    seeds = [seed_for(2**32 - 1, repeat, 0, "fit") for repeat in range(50)]
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**31  # with 50 draws the upper half is hit


def test_seeds_never_change_between_versions():
    assert [seed_for(0, 0, 0, "folds"), seed_for(42, 1, 3, "val")] == [119718763, 2928860898]
