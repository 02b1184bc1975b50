import numpy as np
import pytest
import torch
from torch import Tensor

from experiment.core.contracts import FoldModel
from experiment.explain.heat_maps import heat_maps, overlay, peaks_inside


class LooksAt(FoldModel):
    """Sees nothing but the pixel at (row, column) of an image."""

    def __init__(self, row: int, column: int, certain: float = 1.0) -> None:
        super().__init__()
        self.row, self.column, self.certain = row, column, certain

    def forward(self, images: Tensor) -> Tensor:
        p = (self.certain * images[:, :, self.row, self.column].mean(dim=1)).sigmoid()
        return torch.stack([1 - p, p], dim=1)


@pytest.mark.parametrize(("row", "column"), [(10, 20), (40, 3)])
@pytest.mark.parametrize("positive", [0, 1])
def test_the_hottest_pixel_is_the_one_that_the_model_sees(row: int, column: int, positive: int) -> None:
    heat = heat_maps(LooksAt(row, column), torch.rand(3, 3, 48, 48), positive)
    assert heat.shape == (3, 48, 48)
    assert [divmod(int(one.argmax()), 48) for one in heat] == [(row, column)] * 3
    assert heat.min() >= 0
    assert heat.max(axis=(1, 2)).tolist() == pytest.approx([1, 1, 1])


def test_a_blind_model_has_a_cold_map_and_no_nan() -> None:
    assert heat_maps(LooksAt(0, 0, certain=0.0), torch.rand(1, 3, 32, 32), 1).tolist() == np.zeros((1, 32, 32)).tolist()


def test_the_same_seed_gives_the_same_map_and_leaves_the_generator_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    model, images = torch.nn.Sequential(model, torch.nn.Softmax(1)), torch.rand(1, 3, 32, 32)
    before = torch.get_rng_state()
    first, again = heat_maps(model, images, 1, seed=3), heat_maps(model, images, 1, seed=3)
    assert np.array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_peak_counts_where_its_own_mask_is() -> None:
    heat = np.zeros((2, 4, 4), dtype=np.float32)
    heat[:, 1, 2] = 1
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    assert peaks_inside(heat, [mask, ~mask]).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_an_overlay_is_the_image_beside_the_heated_image(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 100, dtype=np.uint8)
    heat = np.zeros((4, 6), dtype=np.float32)
    heat[2, 3] = 1
    both = overlay(image, heat)
    assert both.shape == (4, 12, 3)
    assert (both[:, :6] == 100).all()
    assert both[2, 9].tolist() == [230, 60, 30]
    assert (np.delete(both[:, 6:].reshape(-1, 3), 2 * 6 + 3, axis=0) == 100).all()
