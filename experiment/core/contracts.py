"""What data modules, models and the engine promise each other. Everything else may change behind these types.

A data module hands out a `SampleTable` and, for one `Split` at a time, loaders of `Batch`. A model is a `FoldModel`:
after `fit` it answers `predict` with class probabilities. The tables themselves are in `experiment.core.tables`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypedDict, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from experiment.core.tables import FinishedFold, Part, SampleTable, Split


class Batch(TypedDict):
    """One batch as a model sees it, after the transfer to its device.

    Attributes:
        image: float32 RGB in [0, 1], shape (B, 3, H, W); normalisation belongs to the backbone.
        symmetry: which symmetry of the square (`experiment.core.symmetry`) the stored image is shown in, int64, shape (B,).
        target: int64 class index, shape (B,).
        sample_id: B stable identifiers.
    """

    image: Tensor
    symmetry: Tensor
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
    def exact_symmetries(self) -> tuple[int, ...] | None:
        """The symmetries that training images are drawn in; None where augmentation changes pixels too."""
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
    how_fitted: str = ""
    """How the last fit was done, in words, where the settings alone do not tell; reports quote it."""

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
        """Take what is needed from the finished folds named by `inputs`, before fitting and when loaded from disk."""

    def shared(self) -> Mapping[str, Tensor]:
        """State that other folds and runs have as well. Their checkpoints leave it out: it is kept once, by content."""
        return {}

    def take_shared(self, state: Mapping[str, Tensor]) -> None:
        """Take what `shared` gave, when loaded from disk."""

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


class FeatureNetwork(Protocol):
    """The network of a model that answers from features of its layers.

    Attributes:
        frozen: up to which layer it is never trained; None where all of it is.
        symmetries: features are averaged over the first so many.
    """

    frozen: str | None
    symmetries: int

    def described(self, last: str = ...) -> Mapping[str, Any]:
        """What decides the outputs up to `last` besides images and precision: plain values, with a digest of the weights."""

    def extract(self, batch: Batch, symmetries: int) -> Tensor:
        """Every feature that any choice of taps and poolings may ask for, (B, F_all), float32.

        Of images that are not augmented, averaged over so many symmetries.
        """

    def frozen_rows(self, images: Tensor, symmetries: Sequence[int]) -> NDArray[Any]:
        """What is worth keeping of the frozen layers' work on images (B, 3, H, H), a row an image."""

    def read_frozen(self, row_of: Mapping[str, int], rows: Sequence[Any], symmetries: tuple[int, ...]) -> None:
        """Take such rows in place of running the frozen layers."""


@runtime_checkable
class AnswersFromFeatures(Protocol):
    """A model whose predictions are a function of features of its network."""

    backbone: FeatureNetwork

    @property
    def columns(self) -> Sequence[int]:
        """Which of all features the network can give it reads, (F,)."""

    def keep(self, sample_ids: Sequence[str], features: NDArray[np.float32]) -> None:
        """Features (N, F) of rows that will be predicted, so that the network need not see them again."""


@runtime_checkable
class FitsOnFeatures(AnswersFromFeatures, Protocol):
    """A model with a head that is fitted on skip features after training (by the callback `fit_svm`)."""

    @property
    def same_in_all_folds(self) -> bool:
        """Whether the network has seen no fold."""

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
