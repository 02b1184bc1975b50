"""Finished runs as they lie on disk, read back for reports and comparisons: nothing here trains."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from experiment.core.cost import Cost, cost
from experiment.core.errors import UserError
from experiment.core.tables import MARKER, FinishedFold, SampleTable

SAMPLES = "samples.parquet"


def write_samples(samples: SampleTable, path: Path) -> None:
    """The samples with their groups; classes and the like go into the file's metadata."""
    table = samples.rows.copy()
    table.attrs = {"classes": list(samples.classes), "positive": samples.positive, "grouped": samples.grouped}
    table.to_parquet(path, index=False)


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a complete run.

    Attributes:
        path: the folder.
        title: how tables call it.
    """

    path: Path
    title: str

    @classmethod
    def at(cls, path: Path, title: str = "") -> "FinishedRun":
        """The complete run in this folder.

        Raises:
            UserError: there is none.
        """
        if not (path / "metrics.json").is_file():
            raise UserError(f"{path} is not a complete run: it has no metrics.json. Give the folder that train.py printed.")
        run = cls(path.resolve(), title)
        return cls(run.path, title or run.config["model"]["name"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        loaded = yaml.safe_load((self.path / "config.yaml").read_text())
        assert isinstance(loaded, dict)
        return loaded

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Metrics of ``metrics.json``."""
        loaded = json.loads((self.path / "metrics.json").read_text())
        return {name: score for name, score in loaded.items() if name != "cost"}

    @property
    def cost(self) -> Cost:
        """What the folds cost."""
        return cost(self.markers.values())

    @cached_property
    def oof(self) -> pd.DataFrame:
        """The out-of-fold table."""
        return pd.read_parquet(self.path / "oof.parquet")

    @cached_property
    def splits(self) -> pd.DataFrame:
        """``repeat``, ``fold``, ``sample_id``, ``part``."""
        return pd.read_parquet(self.path / "splits.parquet")

    @cached_property
    def samples(self) -> SampleTable:
        """All samples with their groups."""
        rows = pd.read_parquet(self.path / SAMPLES)
        return SampleTable(rows, tuple(rows.attrs["classes"]), rows.attrs["positive"], rows.attrs["grouped"])

    @cached_property
    def placed(self) -> pd.DataFrame:
        """The splits with each image's ``target`` and ``group``, and whether it is ``positive``."""
        rows = self.splits.merge(self.samples.rows[["sample_id", "target", "group"]], on="sample_id")
        return rows.assign(positive=rows["target"] == self.samples.positive_index)

    @cached_property
    def markers(self) -> dict[str, dict[str, Any]]:
        """What each finished fold says of itself, by ``repeat-R/fold-K``."""
        found = sorted(self.path.glob(f"repeat-*/fold-*/{MARKER}"), key=lambda marker: _numbers(marker.parent))
        return {f"{m.parent.parent.name}/{m.parent.name}": json.loads(m.read_text()) for m in found}

    def folds(self) -> Iterator[tuple[str, FinishedFold]]:
        """Name and folder of each fold, in order."""
        for name in self.markers:
            yield name, FinishedFold(self.path / name)

    def curves(self) -> dict[str, pd.DataFrame]:
        """Epochs of each fold that was trained: ``epoch``, ``train/loss``, ``val/…``; one row an epoch."""
        found = {}
        for name, fold in self.folds():
            file = fold.path / "history.csv"
            if file.is_file():
                history = pd.read_csv(file)
                if "train/loss" in history:
                    found[name] = history.groupby("epoch").mean(numeric_only=True).reset_index()
        return found

    def inputs(self) -> dict[str, "FinishedRun"]:
        """The runs that this one is built on, by the name it has for them."""
        first: Mapping[str, Any] = next(iter(self.markers.values()), {})
        return {
            name: FinishedRun.at((self.path.parent / folder).parents[1], name)  # <run>/repeat-0/fold-0
            for name, folder in first.get("inputs", {}).items()
        }

    def everyone(self) -> list["FinishedRun"]:
        """The runs that this one is built on, deepest first and each once, then itself."""
        found: dict[Path, FinishedRun] = {}
        for run in [*(r for i in self.inputs().values() for r in i.everyone()), self]:
            found.setdefault(run.path, run)
        return list(found.values())


def _numbers(folder: Path) -> tuple[int, int]:
    """Repeat and fold, so that fold 10 comes after fold 9."""
    return int(folder.parent.name.split("-")[1]), int(folder.name.split("-")[1])
