"""Run the frozen layers of a network once for all folds, epochs and trials."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from experiment.core.code import code_digest, code_of
from experiment.core.contracts import ReadsFeatures
from experiment.core.timing import stage
from experiment.run.features import batches, data_of, inference
from experiment.store.disk_cache import DiskCache


class CacheFrozen(Callback):
    """Stores the outputs of the frozen layers for all images before training, in every symmetry that training draws.

    Training then runs only the other layers. It needs augmentation that draws nothing but symmetries, because every other
    change of pixels changes those outputs; with any other, or without room on disk, frozen layers run as usual.

    Args:
        cache: folder in which the outputs are stored.
        cache_gb: size limit of the folder; 0 stores none.
    """

    def __init__(self, cache: str = "", cache_gb: float = 0.0) -> None:
        super().__init__()
        self.cache = DiskCache(Path(cache), cache_gb, "paths.cache_gb")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the cache; the module is on its device, and not trained yet."""
        if not isinstance(pl_module, ReadsFeatures):
            raise TypeError(f"{type(pl_module).__name__} has no trunk whose layers could be frozen")
        trunk, data = pl_module.trunk, data_of(trainer)
        if trunk.frozen is None:
            return
        if data.exact_symmetries is None:
            return _warn("augmentation changes pixels (data.augment.contrast=0 and brightness=0 would not)")
        symmetries = tuple(sorted({*data.exact_symmetries, *range(pl_module.symmetries)}))
        ids = data.samples.sample_id.tolist()

        def rows(block: range) -> NDArray[Any]:
            shown = [ids[row] for row in block]
            with stage("frozen layers", len(shown)), inference(trainer, pl_module):
                images = [batch["image"] for batch in batches(trainer, data, shown)]
                return np.concatenate([trunk.frozen_rows(image, symmetries, pl_module.symmetries) for image in images])

        described = {
            **trunk.described(trunk.frozen), "frozen": symmetries, "averaged": pl_module.symmetries,
            "pixels": data.samples.rows["digest"].tolist(), "transform": dict(data.transform),
            "precision": str(trainer.precision), "code": code_digest(code_of([type(trunk)])),
        }  # fmt: skip
        blocks = self.cache.get(described, len(ids), rows)
        if blocks is None:
            return _warn("they do not fit in paths.cache_gb")
        outputs = trunk.read_frozen({sample: row for row, sample in enumerate(ids)}, blocks, symmetries)
        if trainer.max_epochs:
            trunk.starts_behind = trunk.frozen
            data.serve(outputs)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to images: predictions average other views than training."""
        self._serve_images(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Go back to images: the data module serves other folds too."""
        if trainer.datamodule:  # type: ignore[attr-defined]  # else the fit has not come so far
            self._serve_images(trainer, pl_module)

    def _serve_images(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, ReadsFeatures):
            pl_module.trunk.starts_behind = None
            data_of(trainer).serve(None)


def _warn(reason: str) -> None:
    warnings.warn(f"frozen layers run in every epoch: {reason}.", stacklevel=2)
