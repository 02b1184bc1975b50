"""The folder of one run: one cross-validation of one model, found by the digest of everything that decides its numbers.

Layout::

    <root>/<name>-<digest>-<code>/        one run; the digests are of the settings and of the code
        identity.json  config.yaml        the settings that decide the numbers; the resolved config
        splits.parquet                    fit, val and test of each fold
        repeat-0/fold-3/                  model.ckpt, predictions.parquet, history.csv, finished.json
        oof.parquet  samples.parquet      once all folds are finished: predictions, groups, ...
        bootstrap.npz  metrics.json       ... resampled metrics, and last the metrics with their intervals

While a fold is not finished, three hidden neighbours belong to it: ``.fold-3.lease`` (the job that fits it),
``.fold-3.unfinished/`` (the last stored epoch) and ``.fold-3.failed`` (the error of the last attempt).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from experiment.core.code import Code, changed, code_digest
from experiment.core.cost import Cost, cost
from experiment.core.errors import UserError
from experiment.core.identity import Record, digest
from experiment.core.tables import MARKER, FinishedFold, Greys, SampleTable, Split
from experiment.store.files import creating, remove, remove_temporary, replacing, write_text

IDENTITY = "identity.json"
SAMPLES = "samples.parquet"
BOOTSTRAP = "bootstrap.npz"
SPLITS = "splits.parquet"
DIGITS = 12  # of the settings' digest, in folder names: 48 bits
CODE_DIGITS = 6  # of the code's: few versions of the code meet the same settings


def write_samples(samples: SampleTable, path: Path) -> None:
    """Write the samples with their groups; the classes go into the file's metadata."""
    table = samples.rows.copy()
    table.attrs = {"classes": list(samples.classes), "positive": samples.positive, "grouped": samples.grouped}
    if samples.greys is not None:
        table.attrs["greys"] = asdict(samples.greys)
    table.to_parquet(path, index=False)


@dataclass(frozen=True)
class Run:
    """The folder of one run. Two runs are equal if they have the same folder.

    The tables and scores are read when they are first used, and only a complete run has all of them.
    """

    path: Path  # the folder; it is created with the first fold
    title: str = field(compare=False)  # the model's name in tables
    record: Record = field(compare=False, repr=False)  # all settings that decide the run's numbers

    @classmethod
    def of(cls, root: Path, name: str, record: Record, code: Code) -> "Run":
        """Return the run with these settings and this code below `root`, whether it was begun or not."""
        return cls(root / f"{name}-{digest(record)[:DIGITS]}-{code_digest(code)[:CODE_DIGITS]}", name, record)

    def of_other_code(self) -> list["Run"]:
        """Return the runs of the same settings that have folds fitted by other code, the latest first."""
        paths = self.path.parent.glob(f"{self.name.rpartition('-')[0]}-*")
        others = [Run(path, self.title, self.record) for path in paths if path != self.path]
        return sorted((run for run in others if run.markers), key=lambda run: run.date, reverse=True)

    @classmethod
    def load(cls, path: Path, title: str = "") -> "Run":
        """Return the complete run in this folder, whose title is by default the name in its config.

        Raises:
            UserError: the folder holds no complete run.
        """
        for name in ("metrics.json", IDENTITY):
            if not (path / name).is_file():
                raise UserError(f"{path} is not a complete run: it has no {name}. Give the folder that train.py printed.")
        run = cls(path.resolve(), title, json.loads((path / IDENTITY).read_text()))
        return run if title else cls(run.path, run.config["model"]["name"], run.record)

    def other_code(self, code: Code) -> list[str]:
        """Return the modules that differ between this code and the one that fitted the first finished fold."""
        stored: Code = next(iter(self.markers.values())).get("code", {})
        return changed(code, stored) or changed(stored, code)

    @property
    def name(self) -> str:
        """Folder name: model name and digests."""
        return self.path.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return dict(yaml.safe_load((self.path / "config.yaml").read_text()))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that decide the numbers, as sections of a config; an unfinished run has no ``folds``.

        Models that it is built on, whose settings are no part of its own config, are in ``model.inputs``.
        """
        config = self.config if (self.path / "config.yaml").is_file() else {}
        sections = {**config, **{key: self.record[key] for key in ("model", "trainer", "data") if key in self.record}}
        # pixels and files count by their digests, which say nothing to a reader unless they are all that differs
        data = {key: value for key, value in sections.get("data", {}).items() if key != "digest"}
        files = {key: value[:DIGITS] for key, value in self.record.get("files", {}).items()}
        inputs = {
            name: Run(folder, name, json.loads((folder / IDENTITY).read_text())).settings["model"]
            for name, folder in self.built_on().items()
            if (folder / IDENTITY).is_file()
        }
        model = {**sections.get("model", {}), "files": files, "inputs": inputs, "callbacks": self.record.get("callbacks", {})}
        return {**sections, "seed": self.record.get("seed", config.get("seed")), "data": data, "model": model}

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Metrics of ``metrics.json``."""
        content = json.loads((self.path / "metrics.json").read_text())
        return {name: score for name, score in content.items() if name != "cost"}

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
        return pd.read_parquet(self.path / SPLITS)

    @cached_property
    def samples(self) -> SampleTable:
        """All samples with their groups."""
        rows = pd.read_parquet(self.path / SAMPLES)
        greys = Greys(**rows.attrs["greys"]) if "greys" in rows.attrs else None
        return SampleTable(rows, tuple(rows.attrs["classes"]), rows.attrs["positive"], rows.attrs["grouped"], greys)

    @cached_property
    def placed(self) -> pd.DataFrame:
        """The splits with the ``target`` and ``group`` of each image, and whether it is ``positive``."""
        rows = self.splits.merge(self.samples.rows[["sample_id", "target", "group"]], on="sample_id")
        return rows.assign(positive=rows["target"] == self.samples.positive_index)

    @cached_property
    def markers(self) -> dict[str, dict[str, Any]]:
        """Content of ``finished.json`` of each finished fold, by ``repeat-R/fold-K``, in order of the numbers."""
        found = self.path.glob(f"repeat-*/fold-*/{MARKER}")
        files = sorted(found, key=lambda file: [int(part.split("-")[1]) for part in file.parts[-3:-1]])  # 10 comes after 9
        return {file.parent.relative_to(self.path).as_posix(): json.loads(file.read_text()) for file in files}

    @property
    def date(self) -> datetime:
        """When the last of the finished folds was finished."""
        return datetime.fromtimestamp(max((self.path / name / MARKER).stat().st_mtime for name in self.markers))

    def fold(self, split: Split) -> FinishedFold | None:
        """Return the finished fold, or None."""
        path = self.path / split.name
        return FinishedFold(path) if (path / MARKER).exists() else None

    def folds(self) -> Iterator[tuple[str, FinishedFold]]:
        """Yield name and folder of each finished fold, in order."""
        for name in self.markers:
            yield name, FinishedFold(self.path / name)

    def curves(self) -> dict[str, pd.DataFrame]:
        """Return ``epoch``, ``train/loss``, ``val/…`` of each trained fold, one row per epoch."""
        curves = {}
        for name, fold in self.folds():
            file = fold.path / "history.csv"
            if file.is_file():
                history = pd.read_csv(file)
                if "train/loss" in history:
                    curves[name] = history.groupby("epoch").mean(numeric_only=True).reset_index()
        return curves

    def built_on(self) -> dict[str, Path]:
        """Return the folders of the runs that this one is built on, by their names in its config."""
        first: Mapping[str, Any] = next(iter(self.markers.values()), {})
        root = self.path.parent
        return {
            name: (root / fold).resolve().parents[1] for name, fold in first.get("inputs", {}).items()
        }  # <run>/repeat-0/fold-0

    def inputs(self) -> dict[str, "Run"]:
        """Return the runs that this one is built on, by their names in its config; titles are those of its tables."""
        titles = next(iter(self.markers.values()), {}).get("titles", {})
        return {name: Run.load(folder, titles.get(name, name)) for name, folder in self.built_on().items()}

    def with_inputs(self) -> list["Run"]:
        """Return the runs that this one is built on, deepest first and each once, then itself."""
        runs: dict[Path, Run] = {}
        for run in [*(run for direct in self.inputs().values() for run in direct.with_inputs()), self]:
            runs.setdefault(run.path, run)
        return list(runs.values())

    def neighbour(self, split: Split, what: Literal["lease", "unfinished", "failed"]) -> Path:
        """Return the path of a hidden neighbour of an unfinished fold."""
        final = self.path / split.name
        return final.with_name(f".{final.name}.{what}")

    def remove_half_written(self, split: Split) -> None:
        """Remove what killed processes left of a fold. Only the holder of its lease may do so."""
        remove_temporary(self.path / split.name)

    def discard(self, split: Split) -> None:
        """Remove a finished fold and what was made of all folds. Only the holder of its lease may do so."""
        for file in self.path.iterdir():
            if file.is_file() and file.name not in (IDENTITY, SPLITS):
                file.unlink(missing_ok=True)
        remove(self.path / split.name)

    @contextmanager
    def writing(self, split: Split, marker: Mapping[str, Any]) -> Iterator[Path]:
        """Give a folder to write a fold into; it becomes the finished fold when the block ends without an error.

        `marker` may be filled inside the block. If another process has finished the same fold in the meantime, its result
        stays and this one is dropped: both hold the same numbers.
        """
        if not (self.path / IDENTITY).exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / IDENTITY, json.dumps(self.record, indent=2, sort_keys=True))
        with creating(self.path / split.name, MARKER) as folder:
            yield folder
            (folder / MARKER).write_text(json.dumps(marker, indent=2))

    def write_once(self, name: str, table: pd.DataFrame) -> None:
        """Write a table of the run if it does not exist yet."""
        if not (self.path / name).exists():
            with replacing(self.path / name) as temporary:
                table.to_parquet(temporary, index=False)
