"""Layers of a network that can be tapped, and how their outputs are pooled into features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

POOLINGS = ("mean", "max", "std")


@dataclass(frozen=True)
class Tap:
    """A layer that can be tapped.

    Attributes:
        name: as in the config.
        channels: of its output.
        stride: input pixels per output pixel.
    """

    name: str
    channels: int
    stride: int


def pool(maps: Tensor, how: str) -> Tensor:
    """Pool over space: (B, C, h, w) to (B, C). `how` is one of `POOLINGS`."""
    if how == "max":
        return maps.amax(dim=(2, 3))
    return maps.mean(dim=(2, 3)) if how == "mean" else maps.std(dim=(2, 3), correction=0)


def pool_all(maps: Mapping[str, Tensor]) -> Tensor:
    """Return every pooling of every map, one map after the other: (B, F), float32."""
    out = []
    for x in maps.values():
        real = x.float()
        mean, square = (F.adaptive_avg_pool2d(moment, 1).flatten(1) for moment in (real, real.square()))
        # a sixth of the time that torch.var_mean takes; float32 resolves a spread of a thousandth of the mean
        spread = (square - mean.square()).clamp_min(0).sqrt()
        pooled = {"mean": mean, "max": x.amax(dim=(2, 3)).float(), "std": spread}
        out += [pooled[how] for how in POOLINGS]
    return torch.cat(out, dim=1)


def columns_of(available: Sequence[Tap], taps: Sequence[str], poolings: Sequence[str]) -> list[int]:
    """Return the columns of `taps` with `poolings`, in this order, in `pool_all` of all `available` taps.

    >>> columns_of([Tap("a", 2, 4), Tap("b", 1, 8)], ["b", "a"], ["max"])
    [7, 2, 3]
    """
    start, first, channels = 0, {}, {tap.name: tap.channels for tap in available}
    for tap in available:
        for how in POOLINGS:
            first[tap.name, how] = start
            start += tap.channels
    return [first[tap, how] + c for tap in taps for how in poolings for c in range(channels[tap])]
