"""Fit a model's head on multi-layer skip features, after training."""

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from experiment.contracts import FitsOnFeatures, FoldData


class FitSVM(Callback):
    """Extracts skip features of the fit and val rows when training has ended, and has the model fit its SVM on them.

    Test rows are never loaded. Without training (``max_epochs: 0``) the features are those of the network as it came.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has moved the module off the device by now; features are extracted on the device."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, FitsOnFeatures) or not isinstance(data, FoldData):
            raise TypeError(f"{type(pl_module).__name__} has no head to fit on features")
        device = trainer.strategy.root_device
        pl_module.to(device).eval()
        ids: list[str] = []
        features, targets = [], []
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            for raw in data.loader("fit", "val"):
                batch = data.on_after_batch_transfer(data.transfer_batch_to_device(raw, device, 0), 0)
                features.append(pl_module.extract(batch["image"]).float().cpu().numpy())
                targets.append(batch["target"].cpu().numpy())
                ids += batch["sample_id"]
        chosen = pl_module.fit_head(
            np.concatenate(features),
            np.concatenate(targets),
            data.samples.select(ids)["group"].to_numpy(dtype=object),
            np.isin(ids, data.split.val),
            ids,
            torch.initial_seed() % 2**32,
        )
        for logger in trainer.loggers:
            logger.log_metrics({f"svm/{name}": value for name, value in chosen.items()})
            logger.save()
        pl_module.cpu()
