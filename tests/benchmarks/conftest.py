"""A folder of images, small enough for a network on the processor."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 32 px in 12 groups; the positive ones have a dark spot."""
    folder, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    rows = ["image,label,group"]
    for number in range(24):
        pixels = rng.normal(160, 20, (32, 32))
        if number % 2:
            pixels[10:20, 8:18] -= 100
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{('absent', 'present')[number % 2]},patient{number // 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder
