"""Larger data set from a real one: copies of each image, shifted by a few pixels and with noise, so that all differ.

    python -m benchmarks.more_images --data DIR --out OTHER --copies 10

Good for timing, not for scores: the copies of an image are in different groups.
"""

import argparse
import csv
from pathlib import Path

import imagecodecs
import numpy as np

from datamodules.images import Pixels, read_image

SHIFT = 4  # pixels
NOISE = 0.01  # standard deviation, of the full range


def varied(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Return the image with noise, cyclically shifted by up to `SHIFT` pixels in each direction."""
    down, right = rng.integers(-SHIFT, SHIFT + 1, size=2)
    full = np.iinfo(pixels.dtype).max
    moved = np.roll(pixels, (down, right), axis=(0, 1)).astype(np.float32)
    noisy = np.clip(moved + rng.normal(0, NOISE * full, moved.shape), 0, full).round()
    return noisy.astype(np.uint8) if pixels.dtype == np.uint8 else noisy.astype(np.uint16)


def write_copies(data: Path, out: Path, copies: int) -> None:
    """Write variants of each image in ``labels.csv`` of `data` to `out`, with a new ``labels.csv``."""
    rng = np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    with (data / "labels.csv").open(newline="", encoding="utf-8-sig") as text:
        rows = list(csv.DictReader(text))
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as text:
        labels = csv.writer(text)
        labels.writerow(("image", "label", "group"))
        for number, row in enumerate(rows):
            pixels = read_image(data / row["image"])
            for copy in range(copies):
                name = f"{number}-{copy}.png"
                (out / name).write_bytes(imagecodecs.png_encode(varied(pixels, rng), level=1))
                labels.writerow((name, row["label"], f"{row['group']}-{copy}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, required=True)
    chosen = parser.parse_args()
    write_copies(chosen.data, chosen.out, chosen.copies)
