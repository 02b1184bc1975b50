"""Fit a model's head on multi-layer skip features, after training."""

from pathlib import Path

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from experiment.core.contracts import FitsOnFeatures
from experiment.core.errors import not_allowed
from experiment.core.seeds import seed_for
from experiment.core.symmetry import N_SYMMETRIES
from experiment.core.timing import stage
from experiment.run.features import FeatureReader, data_of
from experiment.run.hardware import return_memory
from experiment.store.disk_cache import DiskCache

FIT_VIEWS = (1, 4, N_SYMMETRIES)


class FitSVM(Callback):
    """Extracts skip features after training, and lets the model fit its SVM on those of the fit and val rows.

    Without training (``max_epochs: 0``) the features are those of the initial network.

    Args:
        cache: folder in which features are stored for other folds and trials.
        cache_gb: size limit of the folder; 0 stores none.
        fit_views: most symmetries that features of the fit rows are averaged over. The network was trained on these rows in
            all symmetries, so its features differ little, and they are most of the images to be extracted.
        experiment_seed: seed of the experiment; with repeat and fold it decides inner folds and landmarks of the SVM.
    """

    def __init__(self, cache: str = "", cache_gb: float = 0.0, fit_views: int = 4, experiment_seed: int = 0) -> None:
        super().__init__()
        if fit_views not in FIT_VIEWS:
            raise not_allowed("fit_svm.fit_views", fit_views, FIT_VIEWS)
        self.fit_views, self.experiment_seed = fit_views, experiment_seed
        self.cache = DiskCache(Path(cache), cache_gb, "paths.cache_gb")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the head; Lightning has moved the module off the device by now, features are extracted on the device."""
        if not isinstance(pl_module, FitsOnFeatures):
            raise TypeError(f"{type(pl_module).__name__} has no head to fit on features")
        data = data_of(trainer)
        split = data.split
        reader = FeatureReader(trainer, pl_module, data, self.cache)
        fit_views = None if pl_module.same_in_all_folds else min(self.fit_views, pl_module.symmetries)
        passes = [(split.fit, fit_views), (split.val, None)]
        features = np.concatenate([reader.read(ids, views) for ids, views in passes if ids])
        return_memory()  # of the activations
        ids = [*split.fit, *split.val]
        rows = data.samples.select(ids)
        with stage("svm"):
            chosen = pl_module.fit_head(
                features,
                rows["target"].to_numpy(dtype=np.int64),
                rows["group"].to_numpy(dtype=object),
                np.isin(ids, split.val),
                ids,
                seed_for(self.experiment_seed, split.repeat, split.fold, "svm"),
            )
        for logger in trainer.loggers:
            logger.log_metrics({f"svm/{name}": value for name, value in chosen.items()})
            logger.save()
