"""Tests of the synthetic micrographs: their truth is true, and nothing but the granules gives it away."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats

from datamodules.tem import MIN_SIZE, Patient, draw_patient, render

seeds = st.integers(0, 2**32 - 1)
unit = st.floats(0, 1)


def _auroc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    return float(stats.mannwhitneyu(score[label], score[~label]).statistic / label.sum() / (~label).sum())


@lru_cache
def _cohort(patients: int, each: int, difficulty: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]:
    """Return images of 64 pixels, their labels and their patients; every patient has both labels."""
    owner, turn = np.divmod(np.arange(patients * each), each)
    label = turn % 2 == 0
    group = [draw_patient(np.random.default_rng([1, p]), difficulty) for p in range(patients)]
    images = [
        render(np.random.default_rng([2, i]), group[p], present=bool(here), size=64, difficulty=difficulty)[0]
        for i, (p, here) in enumerate(zip(owner, label, strict=True))
    ]
    return np.stack(images), label, owner


@settings(max_examples=60, deadline=None)
@given(seed=seeds, present=st.booleans(), size=st.integers(MIN_SIZE, 72), difficulty=unit)
def test_truth_and_form_hold_for_any_draw(seed: int, present: bool, size: int, difficulty: float) -> None:
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, difficulty)
    image, mask = render(rng, patient, present=present, size=size, difficulty=difficulty)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == np.uint8
    assert mask.dtype == np.bool_
    assert mask.any() == present
    assert image.std() > 5


@settings(max_examples=10, deadline=None)
@given(seed=seeds, present=st.booleans(), difficulty=unit)
def test_same_seed_gives_the_same_bits(seed: int, present: bool, difficulty: float) -> None:
    def draw() -> tuple[Patient, NDArray[np.uint8], NDArray[np.bool_]]:
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng, difficulty)
        return patient, *render(rng, patient, present=present, size=48, difficulty=difficulty)

    first, second = draw(), draw()
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[2], second[2])


def test_different_seeds_give_different_scenes() -> None:
    patient = draw_patient(np.random.default_rng(0))
    scenes = [render(np.random.default_rng(k), patient, present=False, size=64)[0] for k in range(6)]
    for one, other in pairwise(scenes):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.9


@pytest.mark.parametrize("seed", range(5))
def test_presence_changes_nothing_away_from_the_granules(seed: int) -> None:
    patient = draw_patient(np.random.default_rng(seed), 0.2)
    clean, _ = render(np.random.default_rng(seed), patient, present=False, size=96, difficulty=0.2)
    ill, mask = render(np.random.default_rng(seed), patient, present=True, size=96, difficulty=0.2)
    # Averaged over neighbours, because shot noise is drawn anew once a single count differs.
    change = ndimage.uniform_filter(ill.astype(float) - clean, 5)
    far = ~ndimage.binary_dilation(mask, iterations=8)
    assert abs(change[far].mean()) < 1
    assert np.abs(change[far]).max() < 35
    assert change[mask].mean() < -10


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_image_is_the_same_scene_sampled_finer(seed: int) -> None:
    patient = draw_patient(np.random.default_rng(seed), 0.0)
    small, small_mask = render(np.random.default_rng(seed), patient, present=True, size=96, difficulty=0.0)
    large, large_mask = render(np.random.default_rng(seed), patient, present=True, size=192, difficulty=0.0)
    pooled = large.reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), pooled.ravel())[0, 1] > 0.85
    pooled_mask = large_mask.reshape(96, 2, 96, 2).mean(axis=(1, 3)) >= 0.5
    assert (small_mask & pooled_mask).sum() > 0.85 * (small_mask | pooled_mask).sum()


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_granules_are_darker_than_what_surrounds_them(difficulty: float) -> None:
    gaps = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        patient = draw_patient(rng, difficulty)
        image, mask = render(rng, patient, present=True, size=96, difficulty=difficulty)
        ring = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask)
        gaps.append(image[ring].mean() - image[mask].mean())
    assert np.mean(gaps) > 10
    assert np.mean(np.array(gaps) > 0) > 0.8


def test_difficulty_makes_granules_smaller_and_fainter() -> None:
    def signal(difficulty: float) -> tuple[float, float]:
        patient = draw_patient(np.random.default_rng(0), 0.0)
        area, depth = [], []
        for seed in range(15):
            image, mask = render(np.random.default_rng(seed), patient, present=True, size=96, difficulty=difficulty)
            area.append(mask.sum())
            depth.append(np.median(image) - image[mask].mean())
        return float(np.mean(area)), float(np.mean(depth))

    (easy_area, easy_depth), (hard_area, hard_depth) = signal(0.0), signal(1.0)
    assert easy_area > 2 * hard_area
    assert easy_depth > hard_depth


@pytest.mark.parametrize("difficulty", [0.2, 0.5])
def test_global_statistics_do_not_give_the_label_away(difficulty: float) -> None:
    images, label, _ = _cohort(15, 10, difficulty)
    flat = images.reshape(len(images), -1).astype(np.float64)
    for score in (flat.mean(axis=1), flat.min(axis=1), np.median(flat, axis=1)):
        assert 0.35 < _auroc(score, label) < 0.65


def test_images_of_one_patient_are_alike() -> None:
    images, _, owner = _cohort(15, 10, 0.5)
    mean = images.mean(axis=(1, 2))
    groups = np.stack([mean[owner == p] for p in range(15)])
    assert groups.mean(axis=1).var() > 1.5 * groups.var(axis=1).mean()


def test_patients_differ_more_as_difficulty_grows() -> None:
    def spread(difficulty: float) -> float:
        return float(np.std([draw_patient(np.random.default_rng(k), difficulty).brightness for k in range(50)]))

    assert spread(1.0) == pytest.approx(2 * spread(0.0))


@given(seed=seeds, difficulty=unit)
def test_traits_stay_within_their_documented_ranges(seed: int, difficulty: float) -> None:
    patient = draw_patient(np.random.default_rng(seed), difficulty)
    assert 2400 <= patient.field_nm <= 3800
    assert 260 <= patient.ribbon_nm <= 440
    assert 0 <= patient.effacement <= 1
    assert 0.65 <= patient.contrast <= 1.15
    assert -0.16 <= patient.brightness <= 0.16
    assert 200 <= patient.dose <= 1800
    assert 40 <= patient.section_nm <= 110
    assert 0 <= patient.precipitate <= 1.6


@pytest.mark.parametrize("difficulty", [-0.1, 1.5, float("nan")])
def test_difficulty_outside_its_range_is_named(difficulty: float) -> None:
    with pytest.raises(ValueError, match=rf"difficulty is {difficulty}.*0 to 1"):
        draw_patient(np.random.default_rng(0), difficulty)
    patient = draw_patient(np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"difficulty is {difficulty}.*0 to 1"):
        render(np.random.default_rng(0), patient, present=True, difficulty=difficulty)


def test_too_small_a_size_is_named() -> None:
    patient = draw_patient(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"size is 31.*at least 32"):
        render(np.random.default_rng(0), patient, present=True, size=31)
