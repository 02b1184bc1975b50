"""Fit a model's head on multi-layer skip features, after training."""

from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.features import data_of, features_of
from experiment.core.contracts import FitsOnFeatures, FoldModel
from experiment.core.errors import not_allowed
from experiment.core.symmetry import COUNT
from experiment.core.tables import PARTS
from experiment.core.timing import stage
from experiment.run.hardware import return_memory
from experiment.store.disk_cache import DiskCache

FIT_VIEWS = (1, 4, COUNT)


class FitSVM(Callback):
    """Extracts skip features when training has ended, and has the model fit its SVM on those of the fit and val rows.

    Without training (``max_epochs: 0``) the features are those of the network as it came. A pretrained network is shown all
    images at once, for all folds; a fold's own network part by part, of which the ResNet has shown it val and test already.
    The model keeps the features of rows that it will predict, and fits on none of the test rows.

    Args:
        cache: folder in which features are kept for other folds and trials.
        cache_gb: how much it may hold; 0 keeps none.
        fit_views: features of the rows that the network was trained on are averaged over so many symmetries at most. It has
            learned them in all symmetries and answers much alike to each; they are most of the images that it is shown.
    """

    def __init__(self, cache: str = "", cache_gb: float = 0.0, fit_views: int = 4) -> None:
        super().__init__()
        if fit_views not in FIT_VIEWS:
            raise not_allowed("fit_svm.fit_views", fit_views, FIT_VIEWS)
        self.fit_views = fit_views
        self.cache = DiskCache(Path(cache), cache_gb, "paths.cache_gb")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has moved the module off the device by now; features are extracted on the device."""
        if not (isinstance(pl_module, FoldModel) and isinstance(pl_module, FitsOnFeatures)):
            raise TypeError(f"{type(pl_module).__name__} has no head to fit on features")
        data = data_of(trainer)
        samples, split = data.samples, data.split
        if pl_module.same_in_all_folds:
            shown = samples.sample_id.tolist()
            features = features_of(trainer, pl_module, shown, self.cache)
        else:
            views = {"fit": min(self.fit_views, pl_module.backbone.symmetries), "val": None, "test": None}
            passes = [(list(getattr(split, part)), views[part]) for part in PARTS]
            shown = [sample for ids, _ in passes for sample in ids]
            features = np.concatenate([features_of(trainer, pl_module, ids, self.cache, n) for ids, n in passes if ids])

        return_memory()  # of the activations
        row_of = {sample: row for row, sample in enumerate(shown)}
        ids = [*split.fit, *split.val]
        rows = samples.select(ids)
        with stage("svm"):
            chosen = pl_module.fit_head(
                features[[row_of[sample] for sample in ids]],
                rows["target"].to_numpy(dtype=np.int64),
                rows["group"].to_numpy(dtype=object),
                np.isin(ids, split.val),
                ids,
                torch.initial_seed() % 2**32,
            )
        predicted = [*split.val, *split.test]
        pl_module.keep(predicted, features[[row_of[sample] for sample in predicted]])
        for logger in trainer.loggers:
            logger.log_metrics({f"svm/{name}": value for name, value in chosen.items()})
            logger.save()
