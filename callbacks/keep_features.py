"""Predict from features, and keep them: whoever reads the same network later need not show it these images again."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.features import data_of, features_of
from experiment.core.contracts import AnswersFromFeatures
from experiment.store.disk_cache import DiskCache


class KeepFeatures(Callback):
    """Before a model predicts, extracts every feature of the rows it will predict, and keeps them on disk.

    Args:
        cache: folder in which features are kept.
        cache_gb: how much it may hold; 0 keeps none.
    """

    def __init__(self, cache: str = "", cache_gb: float = 0.0) -> None:
        super().__init__()
        self.cache = DiskCache(Path(cache), cache_gb, "paths.cache_gb")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Part by part, as `callbacks.fit_svm` asks for them."""
        if not isinstance(pl_module, AnswersFromFeatures):
            raise TypeError(f"{type(pl_module).__name__} does not answer from features")
        data = data_of(trainer)
        for part in data.predict_parts:
            ids = list(getattr(data.split, part))
            pl_module.keep(ids, features_of(trainer, pl_module, ids, self.cache))
