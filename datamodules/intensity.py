"""Grey values of a data set: 16-bit files often hold 12-bit values of a camera, which a model would see almost black."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.images import Pixels
from experiment.core.tables import FULL, Greys

Intensity = Literal["auto", "native"]
TAIL = 0.001  # share of an image's pixels at each end that does not count: hot and dead pixels
LOOKED_AT = 2**18  # pixels of an image, on a grid, that its levels are taken from
LITTLE = 0.5  # share of the range, below which 16-bit images are scaled: they have fewer than 15 bits


def levels(pixels: Pixels) -> tuple[int, int]:
    """Return the grey values that all but 0.1 % of an image's pixels are at least and at most, of 65535."""
    step = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // LOOKED_AT))
    values = pixels[::step, ::step].ravel()
    at_most = np.bincount(values).cumsum()
    low = np.searchsorted(at_most, TAIL * len(values), side="right")
    high = np.searchsorted(at_most, (1 - TAIL) * len(values))
    full = 1 if pixels.dtype == np.uint16 else 257  # 255 · 257 = 65535
    return int(low) * full, int(high) * full


def greys(of_images: NDArray[np.uint16], deep: bool, intensity: Intensity) -> Greys:
    """Return how a data set uses its range, and which part of the range a model sees.

    That is the full range, unless there are 16-bit images and all images together use less than half of it: then it goes from
    the lowest to the highest level of any image, so that at most 0.1 % of an image's pixels are cut off at each end. No label
    and no fold takes part in that.

    Args:
        of_images: `levels` of each image, (N, 2).
        deep: whether there are images of 16 bits.
        intensity: ``auto``, or ``native`` for the full range.
    """
    low, high = int(of_images[:, 0].min()), int(of_images[:, 1].max())
    used = float(np.median(of_images[:, 1].astype(int) - of_images[:, 0])) / FULL
    if intensity == "auto" and deep and 0 < high - low < LITTLE * FULL:
        return Greys(low, high, used)
    return Greys(0, FULL, used)


def scaled(pixels: Pixels, seen: Greys) -> Pixels:
    """Return pixels with the part of the range that a model sees spread over 16 bits; as they are if it sees all."""
    if not seen.scaled:
        return pixels
    values = pixels.astype(np.float32) * (1 if pixels.dtype == np.uint16 else 257)
    shares = (values - seen.low) / (seen.high - seen.low)
    return np.asarray((shares.clip(0, 1) * FULL).round(), dtype=np.uint16)


def greys_note(seen: Greys) -> str:
    """Return what a user should know of the scaling; empty text if there is none."""
    if not seen.scaled:
        return ""
    return (
        f"the 16-bit images use {seen.used:.0%} of their range; values {seen.low} to {seen.high} are scaled to all of it "
        "(data.intensity=native does not)"
    )
