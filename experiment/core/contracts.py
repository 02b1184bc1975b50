"""Interfaces between data modules, models and the engine.

A data module has a `SampleTable` and, for one `Split` at a time, loaders of `Batch`. A model is a `FoldModel`: after the fit
it predicts class probabilities. The tables are in `experiment.core.tables`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypedDict, runtime_checkable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from experiment.core.tables import FinishedFold, Part, SampleTable, Split


class Batch(TypedDict):
    """One batch as a model sees it, after the transfer to its device."""

    # float32 RGB in [0, 1], shape (B, 3, H, W); normalisation belongs to the trunk. While a data module serves stored outputs
    # of frozen layers (`FoldData.serve`), those.
    image: Tensor
    target: Tensor  # int64 class index, shape (B,)
    sample_id: list[str]  # B stable identifiers


class FrozenOutputs(Protocol):
    """Outputs of a network's frozen layers for all images of a data set, in some symmetries."""

    def maps(self, sample_ids: Sequence[str], symmetry: Sequence[int], device: torch.device) -> Tensor:
        """Return the output for each image in its symmetry, (B, C, h, w)."""


def batch_metrics(classes: int, prefix: str) -> MetricCollection:
    """Return AUROC and balanced accuracy, which take probabilities (B, K) and class indices (B,) batch by batch."""
    metrics = {"auroc": MulticlassAUROC(classes), "balanced_accuracy": MulticlassAccuracy(classes, average="macro")}
    return MetricCollection(metrics, prefix=prefix)  # type: ignore[arg-type]


class FoldData(LightningDataModule):
    """A LightningDataModule that serves one fold at a time. `datamodules.kfold` implements it."""

    # constructor arguments that choose a fold in plain Lightning, and the keys of a command that do
    own_fold: ClassVar[Mapping[str, str]] = {}
    samples: SampleTable
    split: Split
    notes: Sequence[str] = ()  # what a user should know about what was read, in lines
    predict_parts: Sequence[Part] = ("val", "test")  # what `predict_dataloader` serves, one loader per part

    def load(self) -> SampleTable:
        """Read and audit all samples, and keep them in `samples`."""
        raise NotImplementedError

    def set_split(self, split: Split) -> None:
        """Choose the fold that the loaders serve from now on."""
        self.split = split

    def rows_loader(self, sample_ids: Sequence[str]) -> DataLoader[Any]:
        """Return batches of these rows in this order, not augmented."""
        raise NotImplementedError

    def serve(self, outputs: FrozenOutputs | None) -> None:
        """Train and validate on stored outputs of frozen layers in place of images; None goes back to images."""
        raise NotImplementedError

    @property
    def exact_symmetries(self) -> tuple[int, ...] | None:
        """Symmetries that training images are drawn in; None where augmentation changes pixels too."""
        raise NotImplementedError

    @property
    def transform(self) -> Mapping[str, Any]:
        """What is done to a stored image before a model sees it, as plain values: these and the pixels decide the features."""
        raise NotImplementedError

    def views(self, sample_ids: Sequence[str]) -> Tensor:
        """Return images as a model sees them, not augmented: (B, 3, H, H), float32 RGB in [0, 1]."""
        raise NotImplementedError

    def picture(self, sample_id: str) -> NDArray[np.uint8]:
        """Return one image for display, (H, W) or (H, W, 3), uint8."""
        raise NotImplementedError


@runtime_checkable
class KnowsTruth(Protocol):
    """A data module that knows where the granules are: the built-in images."""

    def granule_mask(self, sample_id: str) -> NDArray[np.bool_]:
        """Return the pixels of granules, (H, H)."""


class FoldModel(LightningModule):
    """A LightningModule that the engine can cross-validate.

    A subclass sets `classes`, implements `forward` (images (B, 3, H, W) in [0, 1] to probabilities (B, K)) and whatever
    it needs for training. A model built on other models names the config keys that hold them in `built_on`.
    """

    built_on: ClassVar[tuple[str, ...]] = ()
    classes: tuple[str, ...]
    held_out: pd.DataFrame | None = None  # predictions of val rows by fits without them, if the last fit includes the val rows
    how_fitted: str = ""  # the last fit in words, where the settings alone do not say it; reports quote it

    @classmethod
    def inputs(cls, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the configs of the models whose finished fold this one needs, by name."""
        return {}

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """Return digests of files that decide the result, by config key. Raises `UserError` if a file is unusable."""
        return {}

    @classmethod
    def needs_val(cls, config: Mapping[str, Any]) -> str | None:
        """Return why the model needs val rows, and which model does not; None if it can do without."""
        return None

    def build_on(self, inputs: Mapping[str, FinishedFold]) -> None:
        """Read what is needed of the finished folds `inputs`, before fitting and when loaded from disk."""

    def shared(self) -> Mapping[str, Tensor]:
        """Return the state that other folds and runs have as well: it is stored once, and not in checkpoints."""
        return {}

    def take_shared(self, state: Mapping[str, Tensor]) -> None:
        """Load what `shared` returned."""

    def on_test_epoch_start(self) -> None:
        """Start new metrics. `Trainer.test` is for use without the engine, which computes all metrics from tables."""
        self.test_metrics = batch_metrics(len(self.classes), "test/").to(self.device)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the same probabilities that `predict_step` returns."""
        self.test_metrics.update(self(batch["image"]).float(), batch["target"])

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all batches."""
        self.log_dict(self.test_metrics.compute())

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> tuple[list[str], Tensor]:
        """Return sample ids and probabilities (B, K), float32."""
        return batch["sample_id"], self(batch["image"]).float()


@runtime_checkable
class LearnsFromTables(Protocol):
    """A model that learns from its inputs' predictions instead of images: an ensemble."""

    def fit_tables(self, val: Mapping[str, pd.DataFrame], target: pd.Series) -> None:
        """Learn from the members' predictions on val rows; `target` holds class names, indexed by sample id."""

    def combine(self, members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Return one table of predictions from the members' tables of the same rows."""

    def attach(self, members: Mapping[str, FoldModel]) -> None:
        """Attach the fitted members, so that `forward` works on images."""


class FeatureTrunk(Protocol):
    """The network of a model that reads features of its layers."""

    frozen: str | None  # tap up to which it is never trained; None where all of it is
    activations: Any  # stored outputs of the frozen layers, where there are any
    starts_behind: str | None  # tap whose outputs are its input in place of images; None for images

    def described(self, last: str | None = None) -> Mapping[str, Any]:
        """Return what decides the outputs up to `last` besides images and precision, with a digest of the weights."""

    def frozen_rows(self, images: Tensor, symmetries: Sequence[int], averaged: int) -> NDArray[Any]:
        """Return what is worth storing of the frozen layers' work on images (B, 3, H, H), a row per image."""

    def read_frozen(self, row_of: Mapping[str, int], rows: Sequence[Any], symmetries: tuple[int, ...]) -> FrozenOutputs:
        """Read such rows in place of running the frozen layers from now on."""

    def stored_features(self, sample_ids: Sequence[str], symmetries: int, device: torch.device) -> Tensor:
        """Return all features, (B, F_all), from stored outputs of the frozen layers."""


@runtime_checkable
class ReadsFeatures(Protocol):
    """A model whose predictions are a function of features of its trunk, averaged over `symmetries` views."""

    trunk: FeatureTrunk

    @property
    def symmetries(self) -> int:
        """Number of views."""

    @property
    def columns(self) -> Sequence[int]:
        """Which of all features of the trunk are read, (F,)."""

    def extract(self, images: Tensor, symmetries: int) -> Tensor:
        """Return all features of images that are not augmented, (B, 3, H, H) to (B, F_all), float32."""

    def predict_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn features (N, F) into probabilities (N, K)."""


@runtime_checkable
class FitsOnFeatures(ReadsFeatures, Protocol):
    """A model with a head that is fitted on skip features after training (by the callback `fit_svm`)."""

    @property
    def same_in_all_folds(self) -> bool:
        """Whether the trunk has seen no fold."""

    def fit_head(
        self,
        features: NDArray[np.float32],
        target: NDArray[np.int64],
        group: NDArray[np.object_],
        val: NDArray[np.bool_],
        sample_ids: Sequence[str],
        seed: int,
    ) -> Mapping[str, float]:
        """Fit on features (N, F) of fit and val rows (`val` marks the latter); returns what was chosen, for logging."""
