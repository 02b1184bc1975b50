"""The tables that all parts exchange, and what they stand for: samples, one fold of them, predictions, a finished fold.

Plain values and pandas: who only reads results needs neither torch nor Lightning.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Part = Literal["fit", "val", "test"]
PARTS: tuple[Part, ...] = ("fit", "val", "test")
MARKER = "finished.json"


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
