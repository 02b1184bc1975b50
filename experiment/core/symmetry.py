"""Eight symmetries of the square (dihedral group D4): an EM image has no preferred orientation."""

import torch
from torch import Tensor

N_SYMMETRIES = 8


def apply_symmetry(images: Tensor, index: int) -> Tensor:
    """Apply symmetry `index` in 0..7 to square images (..., H, H): ``index % 4`` quarter turns, a mirror from 4 on.

    Index 0 is the identity.
    """
    mirrored = images.flip(-1) if index >= 4 else images
    return torch.rot90(mirrored, index % 4, dims=(-2, -1)) if index % 4 else mirrored


def symmetry_indices(flips: bool, quarter_turns: bool) -> tuple[int, ...]:
    """Return the indices of the symmetries that flips and quarter turns generate (a half turn is two flips)."""
    turns = range(4) if quarter_turns else ((0, 2) if flips else (0,))
    return tuple(turn + mirror for mirror in ((0, 4) if flips else (0,)) for turn in turns)
