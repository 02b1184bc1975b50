"""Features of images by a model's trunk, stored on disk for other folds, trials and models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer

from experiment.core.code import code_digest, code_of
from experiment.core.contracts import Batch, FoldData, ReadsFeatures
from experiment.core.errors import UserError
from experiment.core.timing import stage
from experiment.store.disk_cache import DiskCache, computed


class FeatureReader:
    """Reads the features that a model needs from the cache, and computes missing ones.

    The trainer gives device and precision; the model is in the state in which it predicts, and on the device while it reads.
    """

    def __init__(self, trainer: Trainer, model: LightningModule, data: FoldData, cache: DiskCache) -> None:
        assert isinstance(model, ReadsFeatures)
        self.same_in_all_folds = bool(getattr(model, "same_in_all_folds", False))
        self.trainer, self.module, self.model, self.data, self.cache = trainer, model, model, data, cache
        self.described = {
            **self.model.trunk.described(),
            "code": code_digest(code_of([type(self.model.trunk), _owner(self.model, "extract")])),
            "transform": dict(data.transform),
            "precision": str(trainer.precision),
        }

    def read(self, sample_ids: Sequence[str], symmetries: int | None = None) -> NDArray[np.float32]:
        """Return features of N images in this order, (N, F), averaged over `symmetries` views (default: the model's number).

        A trunk that is the same in all folds processes all images of the data set at once if there is a cache.
        """
        views = symmetries or self.model.symmetries
        if not (self.same_in_all_folds and self.cache.gigabytes):
            return self._rows(sample_ids, views)
        everything = self.data.samples.sample_id.tolist()
        position = {sample: row for row, sample in enumerate(everything)}
        return self._rows(everything, views)[[position[sample] for sample in sample_ids]]

    def _rows(self, sample_ids: Sequence[str], views: int) -> NDArray[np.float32]:
        def extract(block: range) -> NDArray[np.float32]:
            ids = [sample_ids[row] for row in block]
            with stage("features", len(ids)), inference(self.trainer, self.module):
                if self.model.trunk.activations is not None:
                    parts = [self.model.trunk.stored_features(ids, views, self.trainer.strategy.root_device)]
                else:
                    parts = [self.model.extract(b["image"], views) for b in batches(self.trainer, self.data, ids)]
                return np.concatenate([part.cpu().numpy() for part in parts])

        pixels = self.data.samples.select(sample_ids)["digest"].tolist()
        blocks = self.cache.get({**self.described, "symmetries": views, "pixels": pixels}, len(sample_ids), extract)
        return (computed(len(sample_ids), extract) if blocks is None else blocks).columns(self.model.columns)


def _owner(model: object, method: str) -> type:
    """Return the class that defines a method of a model."""
    return next(kind for kind in type(model).__mro__ if method in vars(kind))


def batches(trainer: Trainer, data: FoldData, sample_ids: Sequence[str]) -> Iterator[Batch]:
    """Yield these images on the trainer's device, not augmented."""
    for raw in data.rows_loader(sample_ids):
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(raw, trainer.strategy.root_device, 0), 0)


@contextmanager
def inference(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """Put the model on the trainer's device, in its precision and in eval mode; afterwards restore all as it was.

    That includes random numbers, of which every loader draws one: training must not depend on what was stored already.
    """
    before, training = model.device, model.training
    model.to(trainer.strategy.root_device).eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(), trainer.precision_plugin.forward_context():
            yield
    finally:
        model.to(before).train(training)


def data_of(trainer: Trainer) -> FoldData:
    """Return the data module of a trainer that is running. Raises UserError if it has another kind of data."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, FoldData):
        raise UserError("this model reads its images by rows; give the Trainer a data module of this project, not loaders.")
    return data
