"""Features of images by a model's network, kept on disk for other folds, trials and models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer

from experiment.core.contracts import AnswersFromFeatures, Batch, FoldData
from experiment.core.timing import stage
from experiment.store.disk_cache import DiskCache, computed


def features_of(
    trainer: Trainer, model: LightningModule, sample_ids: Sequence[str], cache: DiskCache, symmetries: int | None = None
) -> NDArray[np.float32]:
    """The features that the model reads, of these images in this order, (N, F); its network sees only what the cache has not.

    They are averaged over so many `symmetries`, or over those that the model's network says.
    """
    assert isinstance(model, AnswersFromFeatures)
    views = symmetries or model.backbone.symmetries

    def extracted(block: range) -> NDArray[np.float32]:
        ids = [sample_ids[row] for row in block]
        with stage("features", len(ids)), inference(trainer, model):
            return np.concatenate([model.backbone.extract(batch, views).cpu().numpy() for batch in batches(trainer, ids)])

    described = {**model.backbone.described(), "symmetries": views, **circumstances(trainer, sample_ids)}
    found = cache.get(described, len(sample_ids), extracted)
    if found is None:
        found = computed(len(sample_ids), extracted)
    return found.columns(model.columns)


def circumstances(trainer: Trainer, sample_ids: Sequence[str]) -> dict[str, Any]:
    """What decides features besides the network: the pixels, what is done to them, and the precision."""
    data = data_of(trainer)
    pixels = data.samples.select(sample_ids)["digest"].tolist()
    return {"pixels": pixels, "transform": dict(data.transform), "precision": str(trainer.precision)}


def batches(trainer: Trainer, sample_ids: Sequence[str]) -> Iterator[Batch]:
    """These images on the trainer's device, not augmented."""
    data, device = data_of(trainer), trainer.strategy.root_device
    for raw in data.rows_loader(sample_ids):
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(raw, device, 0), 0)


@contextmanager
def inference(trainer: Trainer, model: LightningModule) -> Iterator[None]:
    """The model on the trainer's device, in the trainer's precision, as it predicts; afterwards all is as it was.

    That includes random numbers, of which every loader draws one: training must not depend on what was kept already.
    """
    before, training = model.device, model.training
    model.to(trainer.strategy.root_device).eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(), trainer.precision_plugin.forward_context():
            yield
    finally:
        model.to(before).train(training)


def data_of(trainer: Trainer) -> FoldData:
    """The data module of a trainer at work."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, FoldData)
    return data
