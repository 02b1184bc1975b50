"""The fine-tuned ResNet, or any other trunk: a linear classifier on the pooled last layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from experiment.core.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.reading import average_views


class ResNet(Classifier):
    """A pretrained trunk and a linear classifier, fine-tuned. Predictions average logits over symmetries.

    Args:
        classes: class names.
        trunk: arguments of `lightning_modules.trunk.Trunk`.
        dropout: before the classifier, 0 to below 1.
        task: see `Classifier`.

    Example:
        >>> model = ResNet(["absent", "present"]).eval()
        >>> model(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 2])
    """

    def __init__(
        self, classes: Sequence[str], trunk: Mapping[str, Any] | None = None, dropout: float = 0.0, **task: Any
    ) -> None:
        super().__init__(classes, trunk, **task)
        if not 0 <= dropout < 1:
            raise UserError(f"model.dropout={dropout} is not allowed; take 0 or more, below 1.")
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.reading.features, len(classes))

    def from_features(self, features: Tensor) -> Tensor:
        """Return probabilities from the pooled last tap; the classifier is linear, so this averages logits over views."""
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = self.head(features.to(self.dtype))
        return out.softmax(dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, (B, 3, H, H) to (B, K)."""
        return self.from_features(average_views(lambda view: self._read(self.trunk.last_map(view)), images, self.symmetries))

    def logits(self, images: Tensor) -> Tensor:
        """Return class scores of single views, (B, 3, H, H) to (B, K), float32 or better."""
        out: Tensor = self.head(self.dropout(self._read(self.trunk.last_map(images))))
        return out.to(torch.promote_types(out.dtype, torch.float32))

    def _read(self, last: Tensor) -> Tensor:
        return self.reading.pooled({self.reading.last: last})
