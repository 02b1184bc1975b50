"""Fit a model's head on multi-layer skip features, after training."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from experiment.contracts import FitsOnFeatures, FoldData
from experiment.feature_cache import FeatureCache


class FitSVM(Callback):
    """Extracts skip features when training has ended, and has the model fit its SVM on those of the fit and val rows.

    Without training (``max_epochs: 0``) the features are those of the network as it came. All images go through the network
    in one pass and in a fixed order, so that the numbers do not depend on the fold that asked first; the model keeps those of
    the other rows for its predictions, and fits on none of them.

    Args:
        features: folder in which features are kept for other folds and trials.
        features_gb: how much it may hold; 0 keeps none.
    """

    def __init__(self, features: str = "", features_gb: float = 0.0) -> None:
        super().__init__()
        self.cache = FeatureCache(Path(features), features_gb)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has moved the module off the device by now; features are extracted on the device."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, FitsOnFeatures) or not isinstance(data, FoldData):
            raise TypeError(f"{type(pl_module).__name__} has no head to fit on features")
        samples, network = data.samples, pl_module.network
        if network is None:
            features = _extracted(trainer, pl_module, data)
        else:
            described = {"network": network, "transform": data.transform, "precision": str(trainer.precision)}
            digests = samples.rows["digest"].tolist()
            features = self.cache.get(digests, described, lambda: _extracted(trainer, pl_module, data))

        row_of = {sample: row for row, sample in enumerate(samples.sample_id)}
        ids = [*data.split.fit, *data.split.val]
        rows = [row_of[sample] for sample in ids]
        chosen = pl_module.fit_head(
            features[rows],
            samples.target[rows],
            samples.group[rows],
            np.isin(ids, data.split.val),
            ids,
            torch.initial_seed() % 2**32,
        )
        pl_module.keep(samples.sample_id.tolist(), features)
        for logger in trainer.loggers:
            logger.log_metrics({f"svm/{name}": value for name, value in chosen.items()})
            logger.save()


def _extracted(trainer: Trainer, model: LightningModule, data: FoldData) -> NDArray[np.float32]:
    """Features of all samples in their order, (N, F_all)."""
    assert isinstance(model, FitsOnFeatures)
    device = trainer.strategy.root_device
    model.to(device).eval()
    features = []
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for raw in data.rows_loader(data.samples.sample_id.tolist()):
            batch = data.on_after_batch_transfer(data.transfer_batch_to_device(raw, device, 0), 0)
            features.append(model.extract(batch["image"]).float().cpu().numpy())
    model.cpu()
    return np.concatenate(features)
