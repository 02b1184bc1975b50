"""How a model reads a trunk: which taps, pooled how, averaged over which views."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from experiment.core.errors import UserError, not_allowed
from experiment.core.symmetry import N_SYMMETRIES, apply_symmetry
from lightning_modules.taps import POOLINGS, columns_of, pool, pool_all
from lightning_modules.trunk import Trunk

SYMMETRIES = (1, 4, N_SYMMETRIES)
PIXELS = {"cpu": 2**20}  # of one pass through a network, 40 views of 160 a side; larger ones are slower
PIXELS_ELSEWHERE = 2**23  # a GPU wants all eight views of a batch


class Reading:
    """Skip features of a trunk: some of its taps, pooled over space and averaged over symmetric views.

    Args:
        trunk: that is read.
        taps: names of layers, joined in this order; None takes four, evenly spaced up to the last.
        pooling: ``mean``, ``max`` and ``std`` over space, joined in this order. A granule is small: the maximum keeps
            what the mean washes out.
        symmetries: number of symmetries of the square that features are averaged over: 1, 4 (quarter turns) or 8.

    Raises:
        UserError: unknown, repeated or no taps or poolings, or another number of symmetries.
    """

    def __init__(self, trunk: Trunk, taps: Sequence[str] | None, pooling: Sequence[str], symmetries: int) -> None:
        self.taps = tuple(trunk.default_taps if taps is None else taps)
        self.pooling = tuple(pooling)
        for key, names, allowed in (
            ("model.taps", self.taps, [tap.name for tap in trunk.taps]),
            ("model.pooling", self.pooling, list(POOLINGS)),
        ):
            for name in names:
                if name not in allowed:
                    raise not_allowed(key, name, allowed)
            if not names or len(set(names)) < len(names):
                raise UserError(f"{key}={list(names)} is not allowed; name at least one of {', '.join(allowed)}, each once.")
        if symmetries not in SYMMETRIES:
            raise not_allowed("model.symmetries", symmetries, SYMMETRIES)
        self.symmetries = symmetries
        order = [tap.name for tap in trunk.taps]
        self.last = max(self.taps, key=order.index)
        self._upto = trunk.taps[: order.index(self.last) + 1]
        self.columns = columns_of(trunk.taps, self.taps, self.pooling)

    @property
    def features(self) -> int:
        """Number of features F."""
        return len(self.columns)

    def pooled(self, maps: dict[str, Tensor]) -> Tensor:
        """Pool the taps of one view: maps by tap name, (B, C, h, w) each, to (B, F)."""
        return torch.cat([pool(maps[tap], how) for tap in self.taps for how in self.pooling], dim=1)

    def skip_features(self, trunk: Trunk, images: Tensor) -> Tensor:
        """Return the features of square images (B, 3, H, H), averaged over the views: (B, F), float32."""
        columns = columns_of(self._upto, self.taps, self.pooling)
        return average_views(lambda view: pool_all(trunk.maps(view, self.last)), images, self.symmetries)[:, columns]


def average_views(function: Callable[[Tensor], Tensor], images: Tensor, symmetries: int) -> Tensor:
    """Average `function`, (V, 3, H, H) to (V, ...), over the first `symmetries` views of square images (B, 3, H, H).

    Views go through the network together, as many as make a batch large enough to be fast.
    """
    pixels = PIXELS.get(images.device.type, PIXELS_ELSEWHERE)
    together = max(1, pixels // (len(images) * images.shape[-1] ** 2))
    results = []
    for start in range(0, symmetries, together):
        # four symmetries: the quarter turns, which 0..3 are
        views = [apply_symmetry(images, index) for index in range(start, min(start + together, symmetries))]
        results.append(function(torch.cat(views)).unflatten(0, (len(views), len(images))))
    return torch.cat(results).mean(dim=0)
