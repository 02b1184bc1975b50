"""Run the frozen layers of a network once: for all folds, epochs and trials."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.features import batches, circumstances, data_of, inference
from experiment.core.contracts import AnswersFromFeatures
from experiment.core.timing import stage
from experiment.store.disk_cache import DiskCache


class CacheFrozen(Callback):
    """Before training, puts the outputs of the frozen layers for all images on disk, in every symmetry that will be asked for.

    Training then runs only the other layers. It needs augmentation that draws nothing but symmetries, because every other
    change of pixels changes those outputs; with any other, or without room on disk, frozen layers run as usual.

    Args:
        cache: folder in which the outputs are kept.
        cache_gb: how much it may hold; 0 keeps none.
    """

    def __init__(self, cache: str = "", cache_gb: float = 0.0) -> None:
        super().__init__()
        self.cache = DiskCache(Path(cache), cache_gb, "paths.cache_gb")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The module is on its device, and nothing has been trained yet."""
        if not isinstance(pl_module, AnswersFromFeatures):
            raise TypeError(f"{type(pl_module).__name__} has no network whose layers could be frozen")
        backbone, data = pl_module.backbone, data_of(trainer)
        if backbone.frozen is None:
            return
        if data.exact_symmetries is None:
            return _told("augmentation changes pixels (data.augment.contrast=0 and brightness=0 would not)")
        symmetries = tuple(sorted({*data.exact_symmetries, *range(backbone.symmetries)}))
        ids = data.samples.sample_id.tolist()

        def rows(block: range) -> NDArray[Any]:
            shown = [ids[row] for row in block]
            with stage("frozen layers", len(shown)), inference(trainer, pl_module):
                return np.concatenate([backbone.frozen_rows(b["image"], symmetries) for b in batches(trainer, shown)])

        described = {**backbone.described(backbone.frozen), "frozen": symmetries, **circumstances(trainer, ids)}
        if (found := self.cache.get(described, len(ids), rows)) is None:
            return _told("they do not fit in paths.cache_gb")
        backbone.read_frozen({sample: row for row, sample in enumerate(ids)}, found, symmetries)


def _told(reason: str) -> None:
    warnings.warn(f"frozen layers run in every epoch: {reason}.", stacklevel=2)
