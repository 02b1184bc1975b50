"""The built-in data set: the same arguments give the same pixels, and its labels are the truth."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError

SMALL = {"images": 12, "patients": 3, "difficulty": 0.3, "image_size": 32}


def made(**changes: Any) -> SyntheticDataModule:
    return SyntheticDataModule(**{**SMALL, **changes})


def test_the_same_arguments_give_the_same_pixels_in_any_order() -> None:
    ids = [row.sample_id for row in made().rows()]
    first, second = made(), made()
    forwards = {sample: first.read(sample) for sample in ids}
    backwards = {sample: second.read(sample) for sample in reversed(ids)}
    for sample in ids:
        np.testing.assert_array_equal(forwards[sample], backwards[sample])


def test_the_drawing_seed_changes_every_image() -> None:
    one, other = made(seed=0), made(seed=1)
    assert all((one.read(row.sample_id) != other.read(row.sample_id)).any() for row in one.rows())


def test_more_images_leave_the_first_ones_as_they_were() -> None:
    few, many = made(images=6), made(images=12)
    for row in few.rows():
        assert row in many.rows()
        np.testing.assert_array_equal(few.read(row.sample_id), many.read(row.sample_id))


@pytest.mark.parametrize(("images", "patients"), [(12, 3), (13, 3), (40, 10), (7, 2), (240, 30)])
def test_there_are_as_many_images_and_patients_as_asked_for(images: int, patients: int) -> None:
    rows = made(images=images, patients=patients).rows()
    assert len({row.sample_id for row in rows}) == len(rows) == images
    assert len({row.group for row in rows}) == patients


@pytest.mark.parametrize(("images", "patients"), [(12, 3), (13, 3), (40, 10), (7, 2), (60, 12)])
def test_each_patients_classes_differ_by_at_most_one_image(images: int, patients: int) -> None:
    counts: dict[str | None, Counter[str]] = {}
    for row in made(images=images, patients=patients).rows():
        counts.setdefault(row.group, Counter())[row.label] += 1
    assert all(abs(labels["present"] - labels["absent"]) <= 1 for labels in counts.values())
    assert all(labels["present"] and labels["absent"] for labels in counts.values())


def test_patients_hold_equal_shares_of_the_images() -> None:
    counts = Counter(row.group for row in made(images=14, patients=4).rows())
    assert sorted(counts.values()) == [3, 3, 4, 4]


def test_a_group_is_named_in_its_images_ids() -> None:
    assert all(row.sample_id.startswith(f"{row.group}/") for row in made().rows())


def test_the_mask_is_empty_exactly_where_the_label_says_absent() -> None:
    data = made()
    for row in data.rows():
        assert data.granule_mask(row.sample_id).any() == (row.label == "present")


def test_granules_are_darker_than_the_rest() -> None:
    data = made(difficulty=0.0)
    gaps = [
        data.read(row.sample_id)[~data.granule_mask(row.sample_id)].mean()
        - data.read(row.sample_id)[data.granule_mask(row.sample_id)].mean()
        for row in data.rows()
        if row.label == "present"
    ]
    assert np.mean(gaps) > 10


def test_images_have_the_size_asked_for_and_eight_bits() -> None:
    data = made(image_size=40)
    image = data.read(data.rows()[0].sample_id)
    assert image.shape == data.granule_mask(data.rows()[0].sample_id).shape == (40, 40)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(("images", "patients"), [(12, 1), (12, 7), (12, 0), (2, 2), (12, -3)])
def test_too_few_or_too_many_patients_are_named_with_what_is_allowed(images: int, patients: int) -> None:
    with pytest.raises(UserError, match=rf"data\.patients={patients} .*data\.images={images} allow 2 to {images // 2}"):
        made(images=images, patients=patients)


@pytest.mark.parametrize("difficulty", [-0.1, 1.1, float("nan")])
def test_a_difficulty_outside_0_to_1_is_named(difficulty: float) -> None:
    with pytest.raises(UserError, match=rf"data\.difficulty={difficulty} is not allowed; take 0 to 1"):
        made(difficulty=difficulty)


def test_too_small_images_are_named() -> None:
    with pytest.raises(UserError, match=r"data\.image_size=31 is not allowed; take 32 or more"):
        made(image_size=31)


def test_an_unknown_positive_class_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"data\.positive=presnt .*absent, present.*Did you mean 'present'"):
        made(positive="presnt").load()
