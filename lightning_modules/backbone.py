"""A torchvision ResNet with taps: named layers whose outputs become multi-layer skip features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

from experiment.errors import UserError, not_allowed
from experiment.symmetry import COUNT, transform
from lightning_modules.weights import load_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as every torchvision weight file expects
POOLINGS = ("mean", "max", "std")
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


class SkipBackbone(nn.Module):
    """Images to the outputs of taps, and to skip features.

    Args:
        name: torchvision's name of the network.
        weights: see `lightning_modules.weights.load_weights`.
        taps: layers whose pooled outputs are the skip features, joined in this order.
        pooling: ``mean``, ``max`` and ``std`` over space, joined in this order. A granule is small: the maximum keeps
            what the mean washes out.
        symmetries: skip features and predictions are averaged over this many symmetries of the square, 1, 4 or 8.
    """

    def __init__(self, name: str, weights: str | None, taps: Sequence[str], pooling: Sequence[str], symmetries: int) -> None:
        super().__init__()
        known = {tap.name: tap for tap in taps_of(name)}
        for tap in taps:
            if tap not in known:
                raise not_allowed("backbone.taps", tap, known)
        if not taps or len(set(taps)) < len(taps):
            raise UserError(f"backbone.taps={list(taps)} is not allowed; name at least one, each once.")
        check_pooling("backbone.pooling", pooling)
        if symmetries not in (1, 4, COUNT):
            raise not_allowed("backbone.symmetries", symmetries, (1, 4, COUNT))
        self.known = tuple(known.values())
        self.taps = tuple(known[tap] for tap in taps)
        self.pooling, self.symmetries = tuple(pooling), symmetries
        self.channels = known["layer4"].channels
        net = models.get_model(name, weights=None)
        net.fc = nn.Identity()
        self.net = net
        if weights is not None and net.conv1.weight.device.type != "meta":
            net.load_state_dict(load_weights(name, weights), strict=True)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    @property
    def features(self) -> int:
        """Number of skip features F: channels of all taps, times the poolings."""
        return len(self.pooling) * sum(tap.channels for tap in self.taps)

    def maps(self, images: Tensor, last: str = "layer4") -> dict[str, Tensor]:
        """Outputs of all layers up to `last`, by tap name: images (B, 3, H, W) to (B, C, H / stride, W / stride)."""
        x = (images - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        out = {}
        for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
            x = self._stem(x) if name == "stem" else self.net.get_submodule(name)(x)
            out[name] = x
            if name == last:
                break
        return out

    def _stem(self, x: Tensor) -> Tensor:
        out: Tensor = self.net.maxpool(self.net.relu(self.net.bn1(self.net.conv1(x))))
        return out

    def skip_features(self, images: Tensor) -> Tensor:
        """Pooled taps joined along features, averaged over the symmetries: (B, 3, H, H) to (B, F), float32."""
        last = max(self.taps, key=lambda tap: tap.stride * (tap.name != "stem")).name

        def pooled(view: Tensor) -> Tensor:
            maps = self.maps(view, last)
            return torch.cat([pool(maps[tap.name].float(), how) for tap in self.taps for how in self.pooling], dim=1)

        return self.averaged(pooled, images)

    def every_feature(self, images: Tensor) -> Tensor:
        """Skip features of all taps and poolings there are, in their order: (B, 3, H, H) to (B, F_all), float32."""

        def pooled(view: Tensor) -> Tensor:
            maps = self.maps(view)
            return torch.cat([pool(maps[tap.name].float(), how) for tap in self.known for how in POOLINGS], dim=1)

        return self.averaged(pooled, images)

    @property
    def columns(self) -> list[int]:
        """Where in `every_feature` the skip features stand, in their order, (F,)."""
        start, first = 0, {}
        for tap in self.known:
            for how in POOLINGS:
                first[tap.name, how] = start
                start += tap.channels
        return [first[tap.name, how] + c for tap in self.taps for how in self.pooling for c in range(tap.channels)]

    def averaged(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Mean of `function` over the symmetric views of square images."""
        # four symmetries: the quarter turns, which 0..3 are
        return torch.stack([function(transform(images, index)) for index in range(self.symmetries)]).mean(dim=0)


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
