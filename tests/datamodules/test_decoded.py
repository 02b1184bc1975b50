"""Images are decoded once, and again as soon as they may have changed."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import kfold
from datamodules.decoded import DecodedImages
from datamodules.folder import FolderDataModule
from datamodules.images import pixel_digest
from experiment.core.errors import UserError
from experiment.store.disk_cache import BLOCK, DiskCache

SIZE = 8


def pixels(name: str) -> np.ndarray:
    """Grey or colour, 8 or 16 bits, by the name's number."""
    number = int(name)
    shape, kind = ((SIZE, SIZE), (SIZE, SIZE, 3))[number % 2], (np.uint8, np.uint16)[number // 2 % 2]
    return np.random.default_rng(number).integers(0, np.iinfo(kind).max, shape, dtype=kind)


def decoded(names: Sequence[str], cache: DiskCache | None, read=pixels) -> DecodedImages:  # type: ignore[no-untyped-def]
    return DecodedImages(read, names, SIZE, cache, {"names": list(names)})


@pytest.mark.parametrize("names", [["0", "4", "8"], ["0", "1", "2", "3"]], ids=["grey", "mixed"])
def test_memory_disk_and_on_demand_give_the_same(names: list[str], tmp_path: Path) -> None:
    kept = [decoded(names, cache) for cache in (None, DiskCache(tmp_path, 1, "x"), DiskCache(tmp_path, 0, "x"))]
    assert [images.blocks is None for images in kept] == [False, False, True]
    for images in kept:
        assert images.digests == [pixel_digest(pixels(name)) for name in names]
        squares = images.squares([2, 0])
        assert squares.shape == (2, 3 if "1" in names and kept[0] is images else squares.shape[1], SIZE, SIZE)
        for square, name in zip(squares, (names[2], names[0]), strict=True):
            real = square.numpy() / np.iinfo(square.numpy().dtype).max
            wanted = pixels(name)
            channels = wanted[None] if wanted.ndim == 2 else np.moveaxis(wanted, -1, 0)
            np.testing.assert_allclose(real, np.broadcast_to(channels, real.shape) / np.iinfo(wanted.dtype).max, atol=1e-12)


def test_each_image_is_read_once_for_all_jobs(tmp_path: Path) -> None:
    read: list[str] = []
    names = [str(4 * number) for number in range(BLOCK + 3)]
    for _ in range(2):
        decoded(names, DiskCache(tmp_path, 1, "x"), lambda name: read.append(name) or pixels(name))
    assert sorted(read) == sorted(names)


def test_all_unreadable_images_are_named(tmp_path: Path) -> None:
    def read(name: str) -> np.ndarray:
        if name in ("4", "12"):
            raise ValueError("cut off")
        return pixels(name)

    for cache in (None, DiskCache(tmp_path, 1, "x"), DiskCache(tmp_path, 0, "x")):
        with pytest.raises(UserError, match=r"2 unreadable images: 4 \(cut off\), 12 \(cut off\)\. Replace or remove them\."):
            decoded(["0", "4", "8", "12"], cache, read)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        path = tmp_path / "images" / ("absent", "present")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(str(4 * number))).resize((40, 40)).save(path)
    return tmp_path


def load(folder: Path, size: int = 32) -> FolderDataModule:
    data = FolderDataModule(str(folder / "images"), image_size=size, cache=str(folder / "cache"))
    data.load()
    return data


def entries(folder: Path) -> int:
    return len(list((folder / "cache").iterdir()))


def test_a_changed_image_is_seen_though_size_and_time_are_the_same(folder: Path) -> None:
    before = load(folder).samples.rows["digest"].tolist()
    changed = folder / "images" / "absent" / "0.png"
    stat = changed.stat()
    content = bytearray(changed.read_bytes())
    Image.fromarray(pixels("400")).resize((40, 40)).save(changed)
    changed.write_bytes(changed.read_bytes()[: len(content)].ljust(len(content), b"\0"))
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = load(folder).samples.rows["digest"].tolist()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False] + [True] * 5


def test_another_size_and_other_code_are_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    load(folder)
    assert entries(folder) == 1
    load(folder, size=40)
    assert entries(folder) == 2
    monkeypatch.setattr(kfold, "code_digest", lambda _: "the next version")
    load(folder)
    assert entries(folder) == 3
