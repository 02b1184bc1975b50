"""Augmentation of batches, with independent draws per image."""

import torch
from torch import Tensor, nn

from experiment.core.errors import UserError
from experiment.core.symmetry import apply_symmetry, symmetry_indices


class Augment(nn.Module):
    """Random flips and quarter turns (exact for EM, which has no preferred orientation), contrast and brightness.

    Args:
        flips: whether to flip images.
        quarter_turns: whether to rotate images by multiples of 90°.
        contrast: the contrast of each image about its mean is scaled by a random factor from 1 ± contrast.
        brightness: each image is shifted by a random value from ± brightness (1 is the full range).

    Raises:
        UserError: contrast or brightness is outside [0, 1).
    """

    def __init__(self, flips: bool = True, quarter_turns: bool = True, contrast: float = 0.4, brightness: float = 0.2) -> None:
        super().__init__()
        for name, value in (("contrast", contrast), ("brightness", brightness)):
            if not 0 <= value < 1:
                raise UserError(f"data.augment.{name}={value} is not allowed; take 0 (off) or more, below 1.")
        self.symmetries = symmetry_indices(flips, quarter_turns)
        self.contrast, self.brightness = contrast, brightness

    @property
    def changes_pixels(self) -> bool:
        """Whether contrast or brightness change, so that an image is more than a symmetry of itself."""
        return self.contrast > 0 or self.brightness > 0

    def draw(self, count: int) -> Tensor:
        """Draw the symmetry of each image, (B,): indices of `experiment.core.symmetry.apply_symmetry`."""
        return torch.tensor(self.symmetries)[torch.randint(len(self.symmetries), (count,))]

    def forward(self, images: Tensor, symmetry: Tensor) -> Tensor:
        """Augment square images (B, C, H, H) in [0, 1] with these symmetries (B,)."""
        out = torch.empty_like(images)
        for index in self.symmetries:
            rows = (symmetry == index).nonzero().flatten().to(images.device)
            if len(rows):
                out[rows] = apply_symmetry(images[rows], index)
        if not self.changes_pixels:
            return out
        scale = 1 + self.contrast * self._uniform(images)
        shift = self.brightness * self._uniform(images)
        mean = out.mean(dim=(1, 2, 3), keepdim=True)
        return ((out - mean) * scale + mean + shift).clamp_(0, 1)

    def _uniform(self, images: Tensor) -> Tensor:
        """Draw uniform values in [-1, 1), one per image."""
        return (torch.rand(len(images), 1, 1, 1) * 2 - 1).to(images)
