"""Outputs of frozen layers, computed once for all folds, epochs and trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """Outputs of the frozen layers for each image of a data set, memory-mapped.

    Attributes:
        row_of: row of each sample.
        blocks: rows with the fields ``features`` (F,), float32, and ``maps`` (S, h, w, C), float32, or uint16 that holds the
            bits of bfloat16, which NumPy does not know.
        symmetries: the S symmetries that `maps` are there for.
    """

    row_of: Mapping[str, int]
    blocks: Sequence[Any]
    symmetries: tuple[int, ...]

    def features(self, sample_ids: Sequence[str], device: torch.device) -> Tensor:
        """Return features of the frozen taps, (B, F)."""
        return torch.from_numpy(np.stack([self.blocks[self.row_of[sample]]["features"] for sample in sample_ids])).to(device)

    def maps(self, sample_ids: Sequence[str], symmetry: Sequence[int], device: torch.device) -> Tensor:
        """Return the output of the last frozen layer for each image in its symmetry, (B, C, h, w) in channels_last."""
        place = {index: position for position, index in enumerate(self.symmetries)}
        rows = [
            self.blocks[self.row_of[sample]]["maps"][place[index]] for sample, index in zip(sample_ids, symmetry, strict=True)
        ]
        return _from_bits(np.stack(rows)).to(device).permute(0, 3, 1, 2)


def as_rows(features: Tensor, maps: Tensor) -> NDArray[Any]:
    """Join features (B, F) and maps (B, S, h, w, C) to rows of `Activations.blocks`."""
    bits = maps.contiguous().cpu()
    numbers = bits.view(torch.uint16).numpy() if bits.dtype == torch.bfloat16 else bits.float().numpy()
    out = np.empty(len(features), dtype=[("features", "f4", features.shape[1:]), ("maps", numbers.dtype, numbers.shape[1:])])
    out["features"], out["maps"] = features.float().cpu().numpy(), numbers
    return out


def _from_bits(numbers: NDArray[Any]) -> Tensor:
    bits = torch.from_numpy(numbers)
    return bits.view(torch.bfloat16) if bits.dtype == torch.uint16 else bits
