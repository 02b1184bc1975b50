"""A torchvision ResNet with taps: named layers whose outputs become multi-layer skip features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models

from experiment.core.contracts import Batch
from experiment.core.errors import UserError, not_allowed
from experiment.core.symmetry import N_SYMMETRIES, apply_symmetry
from experiment.store.disk_cache import Blocks
from experiment.store.tensor_digest import tensor_digest
from lightning_modules.activations import Activations, as_rows
from lightning_modules.taps import STAGES, check_pooling, columns_of, pooled, taps_of
from lightning_modules.weights import load_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as every torchvision weight file expects
TOGETHER = {"cpu": 2**20}  # pixels of one pass, 40 views of 160 a side; larger ones are slower, and slow to begin with
ELSEWHERE = 2**23  # a GPU wants all eight views of a batch


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
        if symmetries not in (1, 4, N_SYMMETRIES):
            raise not_allowed("backbone.symmetries", symmetries, (1, 4, N_SYMMETRIES))
        self.name, self.known = name, tuple(known.values())
        self.taps = tuple(known[tap] for tap in taps)
        self.pooling, self.symmetries = tuple(pooling), symmetries
        self.channels = known["layer4"].channels
        net = models.get_model(name, weights=None)
        net.fc = nn.Identity()
        self.net = net
        if weights is not None and net.conv1.weight.device.type != "meta":
            net.load_state_dict(load_weights(name, weights), strict=True)
        self.frozen: str | None = None
        self.activations: Activations | None = None
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD, device="cpu").view(1, 3, 1, 1), persistent=False)

    @property
    def features(self) -> int:
        """Number of skip features F: channels of all taps, times the poolings."""
        return len(self.pooling) * sum(tap.channels for tap in self.taps)

    def freeze(self, until: str | None) -> None:
        """Keep all layers up to this tap as they are: no gradients, and batch norm with its stored statistics."""
        if until is not None and until not in STAGES:
            raise not_allowed("model.freeze_until", until, STAGES)
        self.frozen = until
        for module in self._frozen_modules():
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "SkipBackbone":
        """Lightning puts everything into training mode; frozen layers stay out of it."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> list[nn.Module]:
        names = STAGES[: STAGES.index(self.frozen) + 1] if self.frozen else ()
        return [self.net.get_submodule(module) for name in names for module in _modules_of(name)]

    def described(self, last: str = "layer4") -> dict[str, Any]:
        """What decides the outputs of layers up to `last` besides images and precision: the network's name and weights."""
        state = {
            f"{module}.{key}": value
            for stage in STAGES[: STAGES.index(last) + 1]
            for module in _modules_of(stage)
            for key, value in self.net.get_submodule(module).state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        return {"network": self.name, "last": last, "weights": tensor_digest(state)}

    def maps(self, images: Tensor, last: str = "layer4") -> dict[str, Tensor]:
        """Outputs of all layers up to `last`, by tap name: images (B, 3, H, W) to (B, C, H / stride, W / stride)."""
        x = (images - self.mean) / self.std
        return self._onward(x.contiguous(memory_format=torch.channels_last), STAGES[: STAGES.index(last) + 1])

    def maps_behind(self, tap: str, x: Tensor) -> dict[str, Tensor]:
        """Outputs of all layers behind a tap, from its own output x, (B, C, h, w)."""
        return self._onward(x, STAGES[STAGES.index(tap) + 1 :])

    def _onward(self, x: Tensor, stages: Sequence[str]) -> dict[str, Tensor]:
        out = {}
        for name in stages:
            out[name] = x = self._stem(x) if name == "stem" else self.net.get_submodule(name)(x)
        return out

    def last_map(self, batch: Batch) -> Tensor:
        """Output of the last layer for a batch, (B, C, h, w); frozen layers are not run where their outputs can be read."""
        if self.activations is None or self.frozen is None:
            return self.maps(batch["image"])["layer4"]
        known = self.activations.maps(batch["sample_id"], batch["symmetry"].tolist(), batch["image"].device)
        return self.maps_behind(self.frozen, known).get("layer4", known)

    def _stem(self, x: Tensor) -> Tensor:
        out: Tensor = self.net.maxpool(self.net.relu(self.net.bn1(self.net.conv1(x))))
        return out

    def skip_features(self, images: Tensor) -> Tensor:
        """Pooled taps joined along features, averaged over the symmetries: (B, 3, H, H) to (B, F), float32."""
        last = max(self.taps, key=lambda tap: STAGES.index(tap.name)).name
        return self.averaged(lambda views: pooled(self.maps(views, last)), images)[:, self.columns]

    def every_feature(self, images: Tensor, symmetries: int | None = None) -> Tensor:
        """Skip features of all taps and poolings there are, in their order: (B, 3, H, H) to (B, F_all), float32."""
        return self.averaged(lambda views: pooled(self.maps(views)), images, symmetries)

    def extract(self, batch: Batch, symmetries: int) -> Tensor:
        """The same of a batch that is not augmented, over so many symmetries.

        Frozen layers are not run where their activations can be read; features of those are averaged over all symmetries.
        """
        if self.activations is None or self.frozen is None:
            return self.every_feature(batch["image"], symmetries)
        ids, device = batch["sample_id"], batch["image"].device
        parts = [self.activations.features(ids, device)]
        if self.frozen != STAGES[-1]:
            known = [self.activations.maps(ids, [index] * len(ids), device) for index in range(symmetries)]
            views = pooled(self.maps_behind(self.frozen, torch.cat(known)))
            parts.append(views.unflatten(0, (symmetries, len(ids))).mean(dim=0))
        return torch.cat(parts, dim=1)

    def frozen_rows(self, images: Tensor, symmetries: Sequence[int]) -> NDArray[Any]:
        """Rows of `Activations.blocks` for images (B, 3, H, H) that are not augmented."""
        assert self.frozen is not None
        features, last = [], []
        for index in symmetries:  # one after the other: all at once are slower, and take their number times the memory
            maps = self.maps(apply_symmetry(images, index), self.frozen)
            last.append(maps[self.frozen].permute(0, 2, 3, 1))
            if index < self.symmetries:
                features.append(pooled(maps))
        return as_rows(torch.stack(features).mean(dim=0), torch.stack(last, dim=1))

    def read_frozen(self, row_of: Mapping[str, int], rows: Blocks, symmetries: tuple[int, ...]) -> None:
        """From now on take the outputs of frozen layers from these rows of `frozen_rows`."""
        self.activations = Activations(row_of, rows, symmetries)

    @property
    def columns(self) -> list[int]:
        """Where in `every_feature` the skip features stand, in their order, (F,)."""
        return columns_of(self.known, [tap.name for tap in self.taps], self.pooling)

    def averaged(self, function: Callable[[Tensor], Tensor], images: Tensor, symmetries: int | None = None) -> Tensor:
        """Mean over the symmetric views of square images (B, 3, H, H) of `function`, (V, 3, H, H) to (V, ...).

        Views go through the network together, as many as make a batch large enough to be fast.
        """
        count = symmetries or self.symmetries
        pixels = TOGETHER.get(images.device.type, ELSEWHERE)
        together = max(1, pixels // (len(images) * images.shape[-1] ** 2))
        results = []
        for start in range(0, count, together):
            # four symmetries: the quarter turns, which 0..3 are
            views = [apply_symmetry(images, index) for index in range(start, min(start + together, count))]
            results.append(function(torch.cat(views)).unflatten(0, (len(views), len(images))))
        return torch.cat(results).mean(dim=0)


def _modules_of(stage: str) -> tuple[str, ...]:
    """Names that torchvision gives to the modules of a stage that hold numbers."""
    return ("conv1", "bn1") if stage == "stem" else (stage,)
