"""What data modules, models and the engine promise each other. Everything else may change behind these types.

A data module hands out a `SampleTable` and, for one `Split` at a time, loaders of `Batch`. A model is a `FoldModel`:
after `fit` it answers `predict` with class probabilities. A finished fold is a folder that others read (`FinishedFold`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypedDict, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from experiment.disk_cache import Blocks

Part = Literal["fit", "val", "test"]
MARKER = "finished.json"
PARTS: tuple[Part, ...] = ("fit", "val", "test")


class Batch(TypedDict):
    """One batch as a model sees it, after the transfer to its device.

    Attributes:
        image: float32 RGB in [0, 1], shape (B, 3, H, W); normalisation belongs to the backbone.
        symmetry: which symmetry of the square (see `experiment.symmetry`) the stored image is shown in, int64, shape (B,).
        target: int64 class index, shape (B,).
        sample_id: B stable identifiers.
    """

    image: Tensor
    symmetry: Tensor
    target: Tensor
    sample_id: list[str]


@dataclass(frozen=True)
class SampleTable:
    """All samples of a data set, one row an image.

    Attributes:
        rows: columns ``sample_id`` (text, unique), ``target`` (index into `classes`), ``group`` (the patient, animal or
            block that must not cross folds) and ``digest`` (of the decoded pixels).
        classes: class names; the order defines ``target``.
        positive: the class that sensitivity, F1 and the like are about.
        grouped: False when no groups were given, so that each image is its own group.
    """

    rows: pd.DataFrame
    classes: tuple[str, ...]
    positive: str
    grouped: bool

    @property
    def positive_index(self) -> int:
        """Index of the positive class."""
        return self.classes.index(self.positive)

    @property
    def sample_id(self) -> NDArray[np.object_]:
        """Identifiers, shape (N,)."""
        return self.rows["sample_id"].to_numpy(dtype=object)

    @property
    def target(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        return self.rows["target"].to_numpy(dtype=np.int64)

    @property
    def group(self) -> NDArray[np.object_]:
        """Groups, shape (N,)."""
        return self.rows["group"].to_numpy(dtype=object)

    def select(self, sample_ids: Sequence[str]) -> pd.DataFrame:
        """The rows of these samples, in the order asked for."""
        return self.rows.set_index("sample_id").loc[list(sample_ids)].reset_index()


@dataclass(frozen=True)
class Split:
    """One fold: who is fitted on, who selects and calibrates, who is predicted once and selects nothing."""

    repeat: int
    fold: int
    fit: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def name(self) -> str:
        """Where this fold lies inside a run, e.g. ``repeat-0/fold-3``."""
        return f"repeat-{self.repeat}/fold-{self.fold}"


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Names of the probability columns, ``p/<class>``: tables are joined by these names, never by position."""
    return [f"p/{name}" for name in classes]


def predictions(sample_ids: Sequence[str], probabilities: NDArray[Any], classes: Sequence[str]) -> pd.DataFrame:
    """A table of predictions: ``sample_id`` and ``p/<class>`` from `probabilities` of shape (N, K)."""
    table = pd.DataFrame(np.asarray(probabilities, dtype=np.float64), columns=probability_columns(classes))
    table.insert(0, "sample_id", list(sample_ids))
    return table


@dataclass(frozen=True)
class FinishedFold:
    """The folder of one fitted and predicted fold. It is complete: it was written beside and renamed."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The Lightning checkpoint; loads with ``weights_only=True``."""
        return self.path / "model.ckpt"

    @property
    def marker(self) -> dict[str, Any]:
        """What was noted when it was finished: seconds, stages, versions."""
        return dict(json.loads((self.path / MARKER).read_text()))

    def predictions(self, part: Part) -> pd.DataFrame:
        """Predictions on rows the model was not fitted on: ``val`` (for combining and calibration) or ``test``."""
        table = pd.read_parquet(self.path / "predictions.parquet")
        return table.loc[table["part"] == part].drop(columns="part").reset_index(drop=True)


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

    def extract(self, batch: Batch) -> Tensor:
        """Every feature that any choice of taps and poolings may ask for, of images as they are: (B, F_all), float32."""

    def frozen_rows(self, images: Tensor, symmetries: Sequence[int]) -> NDArray[Any]:
        """What is worth keeping of the frozen layers' work on images (B, 3, H, H), a row an image."""

    def read_frozen(self, row_of: Mapping[str, int], rows: Blocks, symmetries: tuple[int, ...]) -> None:
        """Take such rows in place of running the frozen layers."""


@runtime_checkable
class AnswersFromFeatures(Protocol):
    """A model whose predictions are a function of features of its network."""

    backbone: FeatureNetwork

    def keep(self, sample_ids: Sequence[str], features: NDArray[np.float32]) -> None:
        """Features (N, F_all) of rows that will be predicted, so that the network need not see them again."""


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
        """Fit on features (N, F_all) of fit and val rows (`val` marks the latter); returns what was chosen, for logging."""
