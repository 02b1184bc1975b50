"""Models whose answer is a function of skip features: the network may have seen an image before and need not see it again."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiment.core.contracts import Batch, FoldModel
from lightning_modules.backbone import SkipBackbone


class OnFeatures(FoldModel):
    """A backbone and a head on some of its features.

    A subclass sets `backbone` and implements `columns` and `from_features`.
    """

    backbone: SkipBackbone

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Tensor] = {}

    @property
    def columns(self) -> list[int]:
        """Which of the backbone's `every_feature` the head reads, (F,)."""
        raise NotImplementedError

    def from_features(self, features: Tensor) -> Tensor:
        """Features (B, F), averaged over symmetries, to probabilities (B, K)."""
        raise NotImplementedError

    def keep(self, sample_ids: Sequence[str], features: NDArray[np.float32]) -> None:
        """Features (N, F) of rows that will be predicted."""
        self.known.update(zip(sample_ids, torch.from_numpy(features), strict=True))

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> tuple[list[str], Tensor]:
        """Sample ids and probabilities (B, K); rows whose features are known do not go through the network again."""
        ids = batch["sample_id"]
        if self.known.keys() >= set(ids):
            features = torch.stack([self.known[sample] for sample in ids]).to(batch["image"].device)
        else:
            features = self.backbone.extract(batch, self.backbone.symmetries)[:, self.columns]
        return ids, self.from_features(features).float()
