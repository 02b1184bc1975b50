"""Tables that all packages exchange: samples, the split of a fold, predictions, a finished fold.

They are plain values and pandas, so that code that only reads results imports neither torch nor Lightning.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.errors import UserError

Part = Literal["fit", "val", "test"]
PARTS: tuple[Part, ...] = ("fit", "val", "test")
MARKER = "finished.json"
CHECKPOINT = "model.ckpt"
FULL = 65535  # white at 16 bits, the unit of grey values of all depths
LARGE_SHARE = 0.5  # share of the images in one group, above which a score is mostly about that group


def largest_group(group: Sequence[str] | NDArray[np.object_]) -> tuple[str, float]:
    """Return the group with the most rows, and its share of them.

    >>> largest_group(["a", "b", "b", "b"])
    ('b', 0.75)
    """
    name, count = Counter(group).most_common(1)[0]
    return name, count / len(group)


@dataclass(frozen=True)
class Greys:
    """Which of the grey values that files can hold (0 to 65535, as of 16 bits) the images of a data set use."""

    low: int  # value that a model sees as black
    high: int  # value that a model sees as white
    used: float  # share of all values between the darkest and the brightest of an image; median over images

    @property
    def scaled(self) -> bool:
        """Whether a model sees other values than the files hold."""
        return (self.low, self.high) != (0, FULL)


@dataclass(frozen=True)
class SampleTable:
    """All samples of a data set, one row per image."""

    # columns ``sample_id`` (text, unique), ``target`` (index into `classes`), ``group`` (patient, animal or block that must
    # not cross folds) and ``digest`` (of the decoded pixels)
    rows: pd.DataFrame
    classes: tuple[str, ...]  # class names; the order defines ``target``
    positive: str  # class that sensitivity, F1 and similar metrics refer to
    grouped: bool  # False if the data set names no groups, so that each image is its own group
    greys: Greys | None = None  # None if not recorded

    @property
    def positive_index(self) -> int:
        """Index of the positive class."""
        return self.classes.index(self.positive)

    @property
    def sample_id(self) -> NDArray[np.object_]:
        """Identifiers, (N,)."""
        return self.rows["sample_id"].to_numpy(dtype=object)

    @property
    def target(self) -> NDArray[np.int64]:
        """Class indices, (N,)."""
        return self.rows["target"].to_numpy(dtype=np.int64)

    @property
    def group(self) -> NDArray[np.object_]:
        """Groups, (N,)."""
        return self.rows["group"].to_numpy(dtype=object)

    def select(self, sample_ids: Sequence[str]) -> pd.DataFrame:
        """Return the rows of these samples, in this order."""
        return self.rows.set_index("sample_id").loc[list(sample_ids)].reset_index()


@dataclass(frozen=True)
class Split:
    """One fold of one repeat, by sample identifiers."""

    repeat: int  # number of the repeat
    fold: int  # number of the fold in its repeat
    fit: tuple[str, ...]  # samples that the model is fitted on
    val: tuple[str, ...]  # samples for selection and calibration
    test: tuple[str, ...]  # samples that are predicted once and that nothing is chosen on

    @property
    def name(self) -> str:
        """Path of the fold inside its run, e.g. ``repeat-0/fold-3``."""
        return f"repeat-{self.repeat}/fold-{self.fold}"


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns, ``p/<class>``: tables are joined by these names, never by position."""
    return [f"p/{name}" for name in classes]


def predictions(sample_ids: Sequence[str], probabilities: NDArray[Any], classes: Sequence[str]) -> pd.DataFrame:
    """Return a table of predictions, ``sample_id`` and ``p/<class>``, from `probabilities` (N, K).

    >>> predictions(["a", "b"], np.array([[0.75, 0.25], [0.5, 0.5]]), ["no", "yes"])
      sample_id  p/no  p/yes
    0         a  0.75   0.25
    1         b  0.50   0.50
    """
    table = pd.DataFrame(np.asarray(probabilities, dtype=np.float64), columns=probability_columns(classes))
    table.insert(0, "sample_id", list(sample_ids))
    return table


@dataclass(frozen=True)
class FinishedFold:
    """Folder of one fitted and predicted fold. It is complete: it was written under another name and renamed."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """Lightning checkpoint; loads with ``weights_only=True``.

        Raises:
            UserError: it has been removed, by ``status.py prune=checkpoints``, for example.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            raise UserError(f"{path} was removed; remove the fold's folder too, and the same command trains it again.")
        return path

    @property
    def marker(self) -> dict[str, Any]:
        """Record of the finished fold: seconds, stages, scores, versions."""
        return dict(json.loads((self.path / MARKER).read_text()))

    def predictions(self, part: Part) -> pd.DataFrame:
        """Return the predictions on ``val`` (for combining and calibration) or ``test``: rows the model was not fitted on."""
        table = pd.read_parquet(self.path / "predictions.parquet")
        return table.loc[table["part"] == part].drop(columns="part").reset_index(drop=True)
