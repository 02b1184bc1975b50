"""Augmentation of whole batches, each image drawn on its own."""

import torch
from torch import Tensor, nn

from experiment.core.errors import UserError
from experiment.core.symmetry import chosen, transform


class Augment(nn.Module):
    """Random mirror and quarter turns (exact for EM: there is no up), contrast and brightness.

    Args:
        flips: mirror.
        quarter_turns: rotate by multiples of 90°.
        contrast: each image's contrast about its mean is scaled by a factor drawn from 1 ± contrast.
        brightness: each image is shifted by a value drawn from ± brightness (1 is the full range).
    """

    def __init__(self, flips: bool = True, quarter_turns: bool = True, contrast: float = 0.4, brightness: float = 0.2) -> None:
        super().__init__()
        for name, value in (("contrast", contrast), ("brightness", brightness)):
            if not 0 <= value < 1:
                raise UserError(f"data.augment.{name}={value} is not allowed; take 0 (off) or more, below 1.")
        self.symmetries = chosen(flips, quarter_turns)
        self.contrast, self.brightness = contrast, brightness

    @property
    def changes_pixels(self) -> bool:
        """Whether more than a symmetry is applied."""
        return self.contrast > 0 or self.brightness > 0

    def draw(self, count: int) -> Tensor:
        """A symmetry for each image, (B,), indices of `experiment.core.symmetry.transform`."""
        return torch.tensor(self.symmetries)[torch.randint(len(self.symmetries), (count,))]

    def forward(self, images: Tensor, symmetry: Tensor) -> Tensor:
        """Square images (B, C, H, H) in [0, 1] and a symmetry for each to the augmented images."""
        out = torch.empty_like(images)
        for index in self.symmetries:
            rows = (symmetry == index).nonzero().flatten().to(images.device)
            if len(rows):
                out[rows] = transform(images[rows], index)
        if not self.changes_pixels:
            return out
        scale = 1 + self.contrast * self._drawn(images)
        shift = self.brightness * self._drawn(images)
        mean = out.mean(dim=(1, 2, 3), keepdim=True)
        return ((out - mean) * scale + mean + shift).clamp_(0, 1)

    def _drawn(self, images: Tensor) -> Tensor:
        """Uniform in [-1, 1), one an image."""
        return (torch.rand(len(images), 1, 1, 1) * 2 - 1).to(images)
