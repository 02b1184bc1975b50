"""Augmentation draws each image anew from symmetries of the square and small changes of grey, and stays in [0, 1]."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.augment import Augment
from experiment.core.errors import UserError

OFF = {"flips": False, "quarter_turns": False, "contrast": 0.0, "brightness": 0.0}


def turned(image: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """NumPy's version of a symmetry, on the last two axes."""
    return np.rot90(image[..., ::-1] if mirror else image, turns, axes=(-2, -1))


def copies(image: Tensor, count: int) -> Tensor:
    return image.expand(count, *image.shape).clone()


def augmented(augment: Augment, images: Tensor) -> Tensor:
    return augment(images, augment.draw(len(images)))


def seen(augment: Augment, image: Tensor, count: int = 300) -> set[bytes]:
    torch.manual_seed(0)
    return {out.numpy().tobytes() for out in augmented(augment, copies(image, count))}


@pytest.fixture
def image() -> Tensor:
    """No symmetry of the square maps it to itself."""
    return torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(0))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), flips=st.booleans(), turns=st.booleans(), contrast=st.floats(0, 0.99),
    brightness=st.floats(0, 0.99), channels=st.sampled_from([1, 3]),
)  # fmt: skip
def test_values_stay_between_0_and_1(
    seed: int, flips: bool, turns: bool, contrast: float, brightness: float, channels: int
) -> None:
    torch.manual_seed(seed)
    images = torch.rand(6, channels, 8, 8).round(decimals=1)  # with some 0 and some 1
    out = augmented(Augment(flips, turns, contrast, brightness), images)
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.min() >= 0
    assert out.max() <= 1


def test_off_means_identity(image: Tensor) -> None:
    images = copies(image, 20)
    assert torch.equal(augmented(Augment(**OFF), images), images)


def test_the_input_is_left_alone(image: Tensor) -> None:
    images = copies(image, 8)
    before = images.clone()
    augmented(Augment(), images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("flips", "quarter_turns", "members"),
    [
        (True, True, [(turns, mirror) for turns in range(4) for mirror in (False, True)]),
        (False, True, [(turns, False) for turns in range(4)]),
        (True, False, [(0, False), (2, False), (0, True), (2, True)]),
        (False, False, [(0, False)]),
    ],
)
def test_exactly_the_chosen_symmetries_are_drawn(
    image: Tensor, flips: bool, quarter_turns: bool, members: list[tuple[int, bool]]
) -> None:
    augment = Augment(**{**OFF, "flips": flips, "quarter_turns": quarter_turns})
    assert not augment.changes_pixels
    torch.manual_seed(0)
    drawn = {out.numpy().tobytes() for out in augmented(augment, copies(image, 300))}
    assert drawn == {np.ascontiguousarray(turned(image.numpy(), *member)).tobytes() for member in members}


def test_each_image_is_shown_in_the_symmetry_that_was_drawn_for_it(image: Tensor) -> None:
    augment = Augment(**{**OFF, "flips": True, "quarter_turns": True})
    drawn = augment.draw(50)
    for out, index in zip(augment(copies(image, 50), drawn), drawn.tolist(), strict=True):
        np.testing.assert_array_equal(out.numpy(), turned(image.numpy(), index % 4, index >= 4))


def test_a_mirror_is_numpys_fliplr() -> None:
    grey = np.arange(9, dtype=np.float32).reshape(3, 3) / 10
    np.testing.assert_array_equal(turned(grey, 0, True), np.fliplr(grey))
    np.testing.assert_array_equal(turned(grey, 2, True), np.flipud(grey))


def test_symmetries_are_drawn_alike_often(image: Tensor) -> None:
    torch.manual_seed(0)
    out = augmented(Augment(**{**OFF, "flips": True, "quarter_turns": True}), copies(image, 4000)).numpy()
    for turns in range(4):
        for mirror in (False, True):
            share = np.isclose(out, turned(image.numpy(), turns, mirror), atol=1e-4).all(axis=(1, 2, 3)).mean()
            assert abs(share - 1 / 8) < 0.03  # six standard errors


@pytest.mark.parametrize("setting", ["contrast", "brightness"])
def test_grey_is_drawn_for_each_image_on_its_own(image: Tensor, setting: str) -> None:
    half = image / 2 + 0.25
    assert len(seen(Augment(**{**OFF, setting: 0.2}), half, 50)) == 50


def test_brightness_shifts_a_whole_image_by_at_most_its_setting() -> None:
    torch.manual_seed(0)
    images = torch.rand(500, 1, 4, 4) * 0.4 + 0.3
    shift = augmented(Augment(**{**OFF, "brightness": 0.1}), images) - images
    assert float(shift.flatten(1).std(dim=1).max()) < 1e-6
    assert 0.09 < float(shift.max()) <= 0.1 + 1e-6
    assert -0.1 - 1e-6 <= float(shift.min()) < -0.09


def test_contrast_scales_about_the_mean_by_at_most_its_setting() -> None:
    torch.manual_seed(0)
    images = torch.rand(500, 1, 4, 4) * 0.4 + 0.3
    out = augmented(Augment(**{**OFF, "contrast": 0.2}), images)
    torch.testing.assert_close(out.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)))
    factor = out.flatten(1).std(dim=1) / images.flatten(1).std(dim=1)
    assert 1.18 < float(factor.max()) <= 1.2 + 1e-5
    assert 0.8 - 1e-5 <= float(factor.min()) < 0.82


def test_the_same_seed_draws_the_same(image: Tensor) -> None:
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(augmented(Augment(), copies(image, 16)))
    assert torch.equal(*outs)


def test_two_epochs_draw_anew(image: Tensor) -> None:
    augment = Augment()
    assert not torch.equal(augmented(augment, copies(image, 16)), augmented(augment, copies(image, 16)))


@pytest.mark.parametrize("setting", ["contrast", "brightness"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 2, float("nan")])
def test_a_setting_outside_its_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"data\.augment\.{setting}={value} is not allowed.*below 1"):
        Augment(**{setting: value})
