"""What data modules, models and the engine promise each other. Everything else may change behind these types.

A data module hands out a `SampleTable` and, for one `Split` at a time, loaders of `Batch`. A model is a `FoldModel`:
after `fit` it answers `predict` with class probabilities. The tables themselves are in `experiment.tables`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypedDict, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from experiment.tables import FinishedFold, Part, SampleTable, Split


class Batch(TypedDict):
    """One batch as a model sees it, after the transfer to its device.

    Attributes:
        image: float32 RGB in [0, 1], shape (B, 3, H, W); normalisation belongs to the backbone.
        target: int64 class index, shape (B,).
        sample_id: B stable identifiers.
    """

    image: Tensor
    target: Tensor
    sample_id: list[str]


class FoldData(LightningDataModule):
    """A LightningDataModule that serves one fold at a time. `datamodules.kfold` implements it."""

    samples: SampleTable
    split: Split
    predict_parts: Sequence[Part] = ("val", "test")
    """What `predict_dataloader` serves, one loader a part."""

    def set_split(self, split: Split) -> None:
        """Choose the fold that the loaders serve from now on."""
        raise NotImplementedError

    def loader(self, *parts: Part) -> DataLoader[Any]:
        """Batches of these parts of the fold, each row once, in a fixed order and not augmented."""
        raise NotImplementedError

    def rows_loader(self, sample_ids: Sequence[str]) -> DataLoader[Any]:
        """Batches of these rows in this order, not augmented."""
        raise NotImplementedError

    @property
    def transform(self) -> Mapping[str, Any]:
        """What is done to a stored image before a model sees it, as plain values: with the pixels it decides the features."""
        raise NotImplementedError

    def views(self, sample_ids: Sequence[str]) -> Tensor:
        """Images as a model sees them, not augmented: (B, 3, H, H), float32 RGB in [0, 1]."""
        raise NotImplementedError

    def picture(self, sample_id: str) -> NDArray[np.uint8]:
        """One image as a person may look at it, (H, W) or (H, W, 3), uint8."""
        raise NotImplementedError


@runtime_checkable
class KnowsTruth(Protocol):
    """A data module that knows where the granules lie: the built-in images."""

    def granule_mask(self, sample_id: str) -> NDArray[np.bool_]:
        """True where a granule lies, (H, H)."""


class FoldModel(LightningModule):
    """A LightningModule that the engine can cross-validate.

    A subclass sets `classes`, implements `forward` (images (B, 3, H, W) in [0, 1] to probabilities (B, K)) and whatever
    it needs for training. A model built on other models names the config keys that hold them in `built_on`.
    """

    built_on: ClassVar[tuple[str, ...]] = ()
    classes: tuple[str, ...]
    held_out: pd.DataFrame | None = None
    """Predictions on the val rows from fits that did not see them, for a model whose last fit includes the val rows."""

    @classmethod
    def inputs(cls, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Configs of the models whose finished fold this one needs, by name."""
        return {}

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """Digests of files outside the config that decide the result, by config key. Raises `UserError` if unusable."""
        return {}

    @classmethod
    def needs_val(cls, config: Mapping[str, Any]) -> str | None:
        """Why the model cannot do without val rows and what could, or None if it can."""
        return None

    def build_on(self, inputs: Mapping[str, FinishedFold]) -> None:
        """Take what is needed from the finished folds named by `inputs`."""

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> tuple[list[str], Tensor]:
        """Sample ids and probabilities (B, K), float32."""
        return batch["sample_id"], self(batch["image"]).float()


@runtime_checkable
class LearnsFromTables(Protocol):
    """A model that learns from its inputs' predictions instead of images: an ensemble."""

    def fit_tables(self, val: Mapping[str, pd.DataFrame], target: pd.Series) -> None:
        """Learn from the members' predictions on val rows; `target` holds class names, indexed by sample id."""

    def combine(self, members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """One table of predictions from the members' tables of the same rows."""

    def attach(self, members: Mapping[str, FoldModel]) -> None:
        """Take the fitted members, so that `forward` works on images."""


@runtime_checkable
class FitsOnFeatures(Protocol):
    """A model with a head that is fitted on skip features after training (by the callback `fit_svm`)."""

    @property
    def network(self) -> Mapping[str, Any] | None:
        """What decides the features besides images and precision, as plain values; None if it cannot be named."""

    def extract(self, images: Tensor) -> Tensor:
        """Every feature that any choice of taps and poolings may ask for: (B, 3, H, W) to (B, F_all)."""

    def keep(self, sample_ids: Sequence[str], features: NDArray[np.float32]) -> None:
        """Features (N, F_all) of rows that will be predicted, so that the network need not see them again."""

    def fit_head(
        self,
        features: NDArray[np.float32],
        target: NDArray[np.int64],
        group: NDArray[np.object_],
        val: NDArray[np.bool_],
        sample_ids: Sequence[str],
        seed: int,
    ) -> Mapping[str, float]:
        """Fit on features (N, F_all) of fit and val rows (`val` marks the latter); returns what was chosen, for logging."""
