"""A pretrained network with taps: images to the outputs of named layers, in stages that can be frozen and stored."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiment.core.errors import UserError, not_allowed
from experiment.core.symmetry import apply_symmetry
from experiment.store.shared import tensor_digest
from lightning_modules.activations import Activations, as_rows
from lightning_modules.networks import build_network
from lightning_modules.taps import pool_all

DEPTHS = 4  # parts that a network of more than five taps is divided into where layers learn at different rates


class Trunk(nn.Module):
    """Images to the outputs of taps.

    Args:
        library: ``torchvision`` or ``timm``.
        name: the library's name of the network.
        weights: ``default`` or another name of the library, the path of a state dict, or None for random weights.

    Example:
        >>> trunk = Trunk("torchvision", "resnet18", weights=None)
        >>> [(tap.name, tap.channels, tap.stride) for tap in trunk.taps][-1]
        ('layer4', 512, 32)
        >>> trunk.maps(torch.rand(1, 3, 64, 64))["layer4"].shape
        torch.Size([1, 512, 2, 2])
    """

    def __init__(self, library: str = "torchvision", name: str = "resnet18", weights: str | None = None) -> None:
        super().__init__()
        network = build_network(library, name, weights)
        self.name, self.taps, self.stages, self.net = name, network.taps, network.stages, network.module
        self.frozen: str | None = None
        self.activations: Activations | None = None
        self.starts_behind: str | None = None
        self.mean: Tensor
        self.std: Tensor
        for key, value in (("mean", network.mean), ("std", network.std)):
            self.register_buffer(key, torch.tensor(value, device="cpu").view(1, 3, 1, 1), persistent=False)

    @property
    def default_taps(self) -> list[str]:
        """Names of four taps, evenly spaced up to the last."""
        return [tap.name for tap in self.taps[:: -max(1, len(self.taps) // 4)][:4][::-1]]

    def freeze(self, until: str | None) -> None:
        """Freeze all layers up to this tap: no gradients, and batch norm with its stored statistics.

        Raises:
            UserError: there is no such tap, or the network is no chain of stages.
        """
        if until is not None:
            if self.stages is None:
                raise UserError(
                    f"model.freeze_until={until}: {self.name} is no chain of stages, so it cannot be cut behind a layer; take "
                    "model.freeze_until=null."
                )
            if until not in (names := [tap.name for tap in self.taps]):
                raise not_allowed("model.freeze_until", until, names)
        self.frozen = until
        for module in self._frozen_modules():
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Trunk":
        """Set training mode, except for frozen layers."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _position(self, tap: str) -> int:
        return [known.name for known in self.taps].index(tap)

    def _frozen_modules(self) -> list[nn.Module]:
        stages = (self.stages or ())[: self._position(self.frozen) + 1] if self.frozen else ()
        return [self.net.get_submodule(name) for stage in stages for name in stage]

    def maps(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Return the outputs of all taps up to `last` by name: images (B, 3, H, W) to (B, C, H / stride, W / stride).

        Where `starts_behind` names a tap, `images` are outputs of that tap, and those of the taps behind it are returned.
        """
        if self.starts_behind is not None:
            return self._onward(images, self._position(self.starts_behind) + 1, last)
        if not images.is_floating_point():
            raise UserError(
                f"images of type {images.dtype} are not allowed; take float RGB in [0, 1]: a Trainer makes them if it gets "
                "the data module itself, not its loaders."
            )
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        try:
            if self.stages is not None:
                return self._onward(x, 0, last)
            return {tap.name: output for tap, output in zip(self.taps, self.net(self._as_weights(x)), strict=True)}
        except AssertionError as error:  # timm's networks of one image size say it this way
            raise UserError(f"trunk.name={self.name}: {error} Set data.image_size to a size that it takes.") from error

    def _onward(self, x: Tensor, start: int, last: str | None) -> dict[str, Tensor]:
        """Run the stages of a chain from number `start` up to the tap `last`."""
        assert self.stages is not None
        end = len(self.taps) if last is None else self._position(last) + 1
        out, x = {}, self._as_weights(x)
        for tap, stage in zip(self.taps[start:end], self.stages[start:end], strict=True):
            for name in stage:
                x = self.net.get_submodule(name)(x)
            # some networks of timm put channels last
            out[tap.name] = x if x.shape[1] == tap.channels else x.permute(0, 3, 1, 2)
        return out

    def _as_weights(self, x: Tensor) -> Tensor:
        """Return `x` in the precision of the weights (``precision=64-true``), unless autocast chooses it."""
        return x if torch.is_autocast_enabled(x.device.type) else x.to(self.mean.dtype)

    def last_map(self, images: Tensor) -> Tensor:
        """Return the output of the last tap, (B, C, h, w)."""
        return self.maps(images)[self.taps[-1].name] if self.starts_behind != self.taps[-1].name else images

    def depths(self) -> dict[str, int]:
        """Return for each parameter, by name, how many stages lie between it and the last one: 0 for the last stage."""
        modules = [tap.name for tap in self.taps] if self.stages is None else None
        depths, stage, inside = {}, 0, False
        for name, _ in self.net.named_parameters():
            if modules is None:
                stage = next(i for i, stage in enumerate(self.stages or ()) if name.partition(".")[0] in stage)
            else:  # what comes before a tap belongs to it, what comes behind it to the next
                bare = name.removeprefix("model.")
                hit = next((i for i, module in enumerate(modules) if bare.startswith(f"{module}.")), None)
                stage = hit if hit is not None else min(stage + inside, len(modules) - 1)
                inside = hit is not None
            depths[name] = len(self.taps) - 1 - stage
        if len(self.taps) > DEPTHS + 1:
            depths = {name: depth * DEPTHS // len(self.taps) for name, depth in depths.items()}
        return depths

    def without_decay(self) -> set[str]:
        """Return the names of parameters that weight decay must leave alone: biases, norms, and what the network says."""
        said = getattr(getattr(self.net, "model", self.net), "no_weight_decay", set)
        exempt = set(said())
        return {n for n, p in self.net.named_parameters() if p.ndim <= 1 or n.removeprefix("model.") in exempt}

    def described(self, last: str | None = None) -> dict[str, Any]:
        """Return what decides the outputs up to `last` besides images and precision: plain values, a digest of the weights."""
        last = last or self.taps[-1].name
        state: Mapping[str, Tensor] = self.net.state_dict()
        if self.stages is not None:
            used = {name for stage in self.stages[: self._position(last) + 1] for name in stage}
            state = {key: value for key, value in state.items() if key.partition(".")[0] in used}
        weights = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        return {"network": self.name, "last": last, "weights": tensor_digest(weights)}

    def frozen_rows(self, images: Tensor, symmetries: Sequence[int], averaged: int) -> NDArray[Any]:
        """Return rows of `Activations.blocks` for images (B, 3, H, H) that are not augmented.

        Args:
            images: B of them.
            symmetries: for which the output of the last frozen layer is stored.
            averaged: features of the frozen taps are averaged over the first so many of them.
        """
        assert self.frozen is not None
        features, last = [], []
        for index in symmetries:  # one after the other: all at once are slower, and take their number times the memory
            maps = self.maps(apply_symmetry(images, index), self.frozen)
            last.append(maps[self.frozen].permute(0, 2, 3, 1))
            if index < averaged:
                features.append(pool_all(maps))
        return as_rows(torch.stack(features).mean(dim=0), torch.stack(last, dim=1))

    def read_frozen(self, row_of: Mapping[str, int], rows: Sequence[Any], symmetries: tuple[int, ...]) -> Activations:
        """Take the outputs of frozen layers from stored rows of `frozen_rows` from now on, and return them."""
        self.activations = Activations(row_of, rows, symmetries)
        return self.activations

    def stored_features(self, sample_ids: Sequence[str], symmetries: int, device: torch.device) -> Tensor:
        """Return `pool_all` of all taps from stored activations, (B, F_all), float32: only trained layers are run."""
        assert self.activations is not None
        assert self.frozen is not None
        parts = [self.activations.features(sample_ids, device)]
        if self.frozen != self.taps[-1].name:
            views = [self.activations.maps(sample_ids, [index] * len(sample_ids), device) for index in range(symmetries)]
            pooled = pool_all(self._onward(torch.cat(views), self._position(self.frozen) + 1, None))
            parts.append(pooled.unflatten(0, (symmetries, len(sample_ids))).mean(dim=0))
        return torch.cat(parts, dim=1)
