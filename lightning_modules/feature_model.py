"""A model whose answer is a function of skip features of a trunk."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiment.core.contracts import FoldModel
from lightning_modules.reading import Reading, average_views
from lightning_modules.taps import pool_all
from lightning_modules.trunk import Trunk

ROWS = 256  # that are answered together


class FeatureModel(FoldModel):
    """A trunk, a reading of it, and a head on the features that are read.

    A subclass sets `trunk` and `reading` and implements `from_features`. Because it can answer from features, the same images
    need not be shown to the same network twice (`experiment.core.contracts.ReadsFeatures`).
    """

    trunk: Trunk
    reading: Reading

    @property
    def symmetries(self) -> int:
        """Number of views that features are averaged over."""
        return self.reading.symmetries

    @property
    def columns(self) -> list[int]:
        """Columns of the trunk's features (`pool_all` of all taps) that are read, (F,)."""
        return self.reading.columns

    def from_features(self, features: Tensor) -> Tensor:
        """Turn features (B, F), averaged over symmetries, into probabilities (B, K)."""
        raise NotImplementedError

    def extract(self, images: Tensor, symmetries: int) -> Tensor:
        """Return all features of the trunk, averaged over so many views: (B, 3, H, H) to (B, F_all), float32."""
        return average_views(lambda view: pool_all(self.trunk.maps(view)), images, symmetries)

    @torch.inference_mode()
    def predict_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn features (N, F) of the columns that are read into probabilities (N, K)."""
        out = [self.from_features(part).float() for part in torch.from_numpy(features).to(self.device).split(ROWS)]
        return torch.cat(out).cpu().numpy()
