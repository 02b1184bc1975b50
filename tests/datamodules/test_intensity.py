"""Grey values of 16-bit images that use little of their range: expected values are arithmetic on the pixels written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

from datamodules.folder import FolderDataModule
from datamodules.intensity import levels
from experiment.core.tables import FULL, Greys, SampleTable
from experiment.store.runs import Run, write_samples

SIDE = 32
Depth = type[np.uint8] | type[np.uint16]


def write(root: Path, low: int, high: int, dtype: Depth = np.uint16, count: int = 6) -> list[NDArray[np.uint16]]:
    """Images of all values from low to high, in an order of their own."""
    drawn = []
    for number in range(count):
        values = np.linspace(low, high, SIDE * SIDE).round().astype(dtype)
        pixels = np.random.default_rng(number).permutation(values).reshape(SIDE, SIDE)
        path = root / ("no", "yes")[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, photometric="minisblack")
        drawn.append(pixels)
    return drawn


def load(root: Path, **settings: object) -> FolderDataModule:
    data = FolderDataModule(str(root), image_size=SIDE, **settings)
    data.load()
    return data


def seen(data: FolderDataModule) -> NDArray[np.float32]:
    """All images as a model sees them, one channel."""
    return data.views(data.samples.sample_id.tolist())[:, 0].numpy()


def test_levels_leave_out_a_thousandth_of_the_pixels_at_each_end() -> None:
    pixels = np.full((100, 100), 2000, np.uint16)
    pixels[0, :10], pixels[1, :10] = 5, 60000
    assert levels(pixels) == (2000, 2000)
    pixels[0, :11], pixels[1, :11] = 5, 60000
    assert levels(pixels) == (5, 60000)


def test_levels_of_8_bits_are_those_of_the_same_image_at_16() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert levels(pixels) == levels(pixels.astype(np.uint16) * 257) == (0, FULL)


@pytest.mark.parametrize("cache_gb", [1, 0])
def test_values_of_a_camera_of_12_bits_are_spread_over_the_range(tmp_path: Path, cache_gb: int) -> None:
    write(tmp_path / "images", 1000, 5000)
    data = load(tmp_path / "images", cache=str(tmp_path / "cache"), cache_gb=cache_gb)
    greys = data.samples.greys
    assert greys is not None
    # a thousandth of 1024 pixels is one at each end; neighbouring values are 4000 / 1023 apart
    assert (greys.low, greys.high) == (1004, 4996)
    assert greys.used == pytest.approx((4996 - 1004) / 65535)
    stored = np.stack([tifffile.imread(tmp_path / "images" / sample) for sample in data.samples.sample_id])
    expected = (np.clip(stored, 1004, 4996) - 1004.0) / (4996 - 1004)
    np.testing.assert_allclose(seen(data), expected, atol=1 / 65535)
    np.testing.assert_allclose(data.picture("no/0.tif") / 255, expected[0], atol=1 / 255)
    assert any("use 6% of their range; values 1004 to 4996 are scaled" in note for note in data.notes)


@pytest.mark.parametrize(("low", "high", "dtype"), [(0, 65535, np.uint16), (0, 255, np.uint8), (90, 110, np.uint8)])
def test_other_images_are_left_as_they_are(tmp_path: Path, low: int, high: int, dtype: Depth) -> None:
    write(tmp_path, low, high, dtype)
    data, native = load(tmp_path), load(tmp_path, intensity="native")
    assert data.samples.greys is not None
    assert not data.samples.greys.scaled
    assert data.notes == []
    stored = np.stack([tifffile.imread(tmp_path / sample) for sample in data.samples.sample_id])
    np.testing.assert_array_equal(seen(data), stored.astype(np.float32) / np.float32(np.iinfo(dtype).max))
    assert data.samples.rows.equals(native.samples.rows)


def test_native_leaves_12_bits_as_they_are_and_is_another_identity(tmp_path: Path) -> None:
    write(tmp_path, 0, 4095)
    data, native = load(tmp_path), load(tmp_path, intensity="native")
    assert seen(native).max() == np.float32(4095) / np.float32(65535)
    assert seen(data).max() == 1
    assert set(data.samples.rows["digest"]).isdisjoint(native.samples.rows["digest"])
    assert data.samples.rows["digest"].is_unique


def test_one_image_of_the_full_range_keeps_the_range_of_all(tmp_path: Path) -> None:
    write(tmp_path, 0, 4095)
    tifffile.imwrite(tmp_path / "no" / "full.tif", np.arange(SIDE**2, dtype=np.uint16).reshape(SIDE, SIDE) * 64)
    data = load(tmp_path)
    assert data.samples.greys is not None
    assert not data.samples.greys.scaled
    assert data.samples.greys.used < 0.07


def test_labels_take_no_part(tmp_path: Path) -> None:
    write(tmp_path, 100, 4000)
    before = load(tmp_path).samples
    for old, new in (("no", "x"), ("yes", "no"), ("x", "yes")):
        (tmp_path / old).rename(tmp_path / new)
    assert load(tmp_path).samples.greys == before.greys


def test_a_run_keeps_the_range(tmp_path: Path) -> None:
    rows = pd.DataFrame({"sample_id": ["a"], "target": [0], "group": ["g"], "digest": ["d"]})
    samples = SampleTable(rows, ("no", "yes"), "yes", grouped=True, greys=Greys(1004, 4996, 0.0625))
    write_samples(samples, tmp_path / "samples.parquet")
    assert Run(tmp_path, "net", {}).samples.greys == samples.greys
    write_samples(replace(samples, greys=None), tmp_path / "samples.parquet")
    assert Run(tmp_path, "net", {}).samples.greys is None
