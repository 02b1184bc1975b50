"""Layers of a ResNet that can be tapped, and how their outputs become features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from experiment.core.errors import UserError, not_allowed

POOLINGS = ("mean", "max", "std")
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@dataclass(frozen=True)
class Tap:
    """A layer that can be tapped.

    Attributes:
        name: as in the config.
        channels: of its output.
        stride: input pixels an output pixel.
    """

    name: str
    channels: int
    stride: int


def taps_of(name: str) -> tuple[Tap, ...]:
    """The taps of a ResNet, in order (He et al. 2016, table 1).

    Raises:
        UserError: the network is unknown.
    """
    if name not in RESNETS:
        raise not_allowed("backbone.name", name, RESNETS)
    expansion = 1 if name in ("resnet18", "resnet34") else 4
    stages = [Tap(f"layer{i + 1}", 64 * 2**i * expansion, 4 * 2**i) for i in range(4)]
    return (Tap("stem", 64, 4), *stages)


def columns_of(known: Sequence[Tap], taps: Sequence[str], poolings: Sequence[str]) -> list[int]:
    """Where these taps with these poolings stand, in this order, among all poolings of all `known` taps (see `pooled`)."""
    start, first, channels = 0, {}, {tap.name: tap.channels for tap in known}
    for tap in known:
        for how in POOLINGS:
            first[tap.name, how] = start
            start += tap.channels
    return [first[tap, how] + c for tap in taps for how in poolings for c in range(channels[tap])]


def pooled(maps: Mapping[str, Tensor]) -> Tensor:
    """All poolings of all maps, a map after the other, (B, F), float32."""
    out = []
    for x in maps.values():
        real = x.float()
        mean, square = (F.adaptive_avg_pool2d(moment, 1).flatten(1) for moment in (real, real.square()))
        # a sixth of the time that torch.var_mean takes; float32 keeps a spread of a thousandth of the mean
        spread = (square - mean.square()).clamp_min(0).sqrt()
        found = {"mean": mean, "max": x.amax(dim=(2, 3)).float(), "std": spread}
        out += [found[how] for how in POOLINGS]
    return torch.cat(out, dim=1)


def check_pooling(key: str, pooling: Sequence[str]) -> None:
    """Refuse unknown, repeated or no poolings."""
    for how in pooling:
        if how not in POOLINGS:
            raise not_allowed(key, how, POOLINGS)
    if not pooling or len(set(pooling)) < len(pooling):
        raise UserError(f"{key}={list(pooling)} is not allowed; name at least one of {', '.join(POOLINGS)}, each once.")


def pool(maps: Tensor, how: str) -> Tensor:
    """Pool over space: (B, C, h, w) to (B, C)."""
    if how == "max":
        return maps.amax(dim=(2, 3))
    return maps.mean(dim=(2, 3)) if how == "mean" else maps.std(dim=(2, 3), correction=0)
