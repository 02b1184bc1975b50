"""Status of the runs in a folder, read from their files: what each is, and how far each fold is."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from experiment.core.differences import differences
from experiment.core.errors import UserError, not_allowed, one_line
from experiment.core.tables import MARKER
from experiment.store.attempt import failure
from experiment.store.lease import holder
from experiment.store.runs import IDENTITY, Run

State = Literal["done", "running", "stale", "failed", "missing", "damaged"]
METRIC = "balanced_accuracy"
BAD_FILE = (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError)  # what reading a damaged file raises


@dataclass(frozen=True)
class FoldStatus:
    """Status of one fold of a run."""

    name: str  # for example ``repeat-0/fold-3``
    state: State  # state of the fold; ``stale`` means begun by a job that is gone, and the next command takes over
    note: str = ""  # process that works on it, or why it failed
    seconds: float = 0.0  # duration, so far if it is running
    scores: dict[str, float] | None = None  # balanced accuracy by part
    finished: float = 0.0  # when it was, in seconds since 1970
    inputs: tuple[str, ...] = ()  # finished folds that it is built on, below the folder of all runs
    shared: str | None = None  # file of a trunk that it shares with others, below the folder of all runs

    @classmethod
    def of(cls, run: Path, name: str) -> "FoldStatus":
        """Read the status from the files of the run."""
        try:
            return cls._read(run / name, name)
        except BAD_FILE as error:
            note = f"{one_line(error)}; remove {run.name}/{name}, and the same command fits it again"
            return cls(name, "damaged", note)

    @classmethod
    def _read(cls, place: Path, name: str) -> "FoldStatus":
        if (file := place / MARKER).is_file():
            marker = json.loads(file.read_text())
            by_part = {part: float(scores[METRIC]) for part, scores in marker.get("scores", {}).items()}
            inputs, shared = tuple(marker.get("inputs", {}).values()), marker.get("shared")
            return cls(name, "done", "", float(marker["seconds"]), by_part, file.stat().st_mtime, inputs, shared)
        if owner := holder(place.with_name(f".{place.name}.lease")):
            state: State = "stale" if owner.stale else "running"
            return cls(name, state, str(owner), seconds=time.time() - owner.since)
        if failed := failure(place.with_name(f".{place.name}.failed")):
            return cls(name, "failed", failed)
        return cls(name, "missing")


@dataclass(frozen=True)
class RunStatus:
    """Status of one run."""

    path: Path  # folder of the run
    folds: Sequence[FoldStatus]  # in order; empty if the splits cannot be read
    model: str  # name of the model
    data: str  # name of the data set: that of its folder, or of its kind
    images: int  # number of images
    settings: dict[str, Any]  # those that decide the numbers, as sections of a config
    damage: str = ""  # why the run itself cannot be read

    @classmethod
    def of(cls, path: Path) -> "RunStatus":
        """Read the status of the run in this folder."""
        model = path.name.rpartition("-")[0] or path.name
        try:
            splits = pd.read_parquet(path / "splits.parquet", columns=["repeat", "fold", "sample_id"])
            pairs = splits[["repeat", "fold"]].drop_duplicates().sort_values(["repeat", "fold"]).to_numpy().tolist()
            folds = [FoldStatus.of(path, f"repeat-{int(repeat)}/fold-{int(fold)}") for repeat, fold in pairs]
        except BAD_FILE as error:
            return cls(
                path, [], model, "", 0, {}, f"{one_line(error)}; remove {path.name}, and the same command starts it again"
            )
        images = int(splits["sample_id"].nunique())
        try:
            run = Run(path, model, json.loads((path / IDENTITY).read_text()))
            settings = {key: value for key, value in run.settings.items() if key != "folds"}  # those are counted
            return cls(path, folds, model, _name_of(run), images, settings)
        except BAD_FILE as error:
            return cls(path, folds, model, "", images, {}, f"its settings cannot be read ({one_line(error)})")

    @cached_property
    def when(self) -> datetime:
        """When the last fold was finished; until then, when the run was begun."""
        last = max((fold.finished for fold in self.folds), default=0.0)
        return datetime.fromtimestamp(last or (self.path / IDENTITY).stat().st_mtime)

    @property
    def done(self) -> list[FoldStatus]:
        """Finished folds."""
        return [fold for fold in self.folds if fold.state == "done"]

    @property
    def built_on(self) -> set[Path]:
        """Folders of the runs that its finished folds are built on."""
        root = self.path.parent
        return {(root / fold).resolve().parents[1] for one in self.done for fold in one.inputs}  # <run>/repeat-0/fold-0

    @property
    def shared(self) -> set[str]:
        """Files of trunks that its finished folds refer to."""
        return {fold.shared for fold in self.done if fold.shared}

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.folds) and len(self.done) == len(self.folds)

    @property
    def running(self) -> bool:
        """Whether a process is at work on one of its folds."""
        return any(fold.state == "running" for fold in self.folds)

    def mean(self, part: str) -> float:
        """Return the mean balanced accuracy of the finished folds on a part; NaN if there is none."""
        values = [fold.scores[part] for fold in self.done if fold.scores and part in fold.scores]
        return float(np.mean(values)) if values else float("nan")


def _name_of(run: Run) -> str:
    data = run.config.get("data", {}) if (run.path / "config.yaml").is_file() else {}
    kind = str(run.settings["data"].get("kind", data.get("_target_", ""))).rpartition(".")[2]
    return Path(data["root"]).name if "root" in data else kind.removesuffix("DataModule").lower()


Row = tuple[RunStatus, dict[str, str]]
"""A run, and its settings that differ from other runs of its model."""


def read_runs(root: Path) -> list[RunStatus]:
    """Return each run below `root`, the newest last.

    Raises:
        UserError: the folder does not exist.
    """
    if not root.is_dir():
        raise UserError(f"paths.runs={root} does not exist; give the folder that train.py writes to.")
    found = [RunStatus.of(file.parent) for file in root.glob(f"*/{IDENTITY}") if (file.parent / "splits.parquet").exists()]
    return sorted(found, key=lambda run: (run.when, run.path.name))


def different(runs: Sequence[RunStatus]) -> list[dict[str, str]]:
    """Return of each run the settings, by short name, that are not the same in all runs of the same model."""
    settings: list[dict[str, str]] = [{} for _ in runs]
    for model in {run.model for run in runs}:
        places = [place for place, run in enumerate(runs) if run.model == model and run.settings]
        for place, own in zip(places, differences([runs[place].settings for place in places]), strict=True):
            settings[place] = own
    return settings


def chosen(
    runs: Sequence[RunStatus], model: str | None, data: str | None, since: str | None, settings: str | None
) -> list[Row]:
    """Return the runs of a model and data set, not older than a date, whose settings that differ have a text: ``lr=4e-4``.

    Raises:
        UserError: no run is of that model or data set, or the date is none.
    """
    for key, value, present in (("model", model, {run.model for run in runs}), ("data", data, {run.data for run in runs})):
        if value is not None and value not in present:
            raise not_allowed(f"where.{key}", value, sorted(filter(None, present)))
    after = as_date("where.since", since)
    near = [
        run for run in runs if model in (None, run.model) and data in (None, run.data) and (after is None or run.when >= after)
    ]
    rows = zip(near, different(near), strict=True)
    return [(run, own) for run, own in rows if settings is None or settings in in_line(own)]


def in_line(settings: dict[str, str]) -> str:
    """Return settings as one text."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def as_date(key: str, text: str | None) -> datetime | None:
    """Return the date in the setting `key`.

    Raises:
        UserError: it is none.
    """
    try:
        return datetime.fromisoformat(str(text)) if text is not None else None
    except ValueError:
        raise UserError(f"{key}={text} is no date; give one such as {key}=2026-11-01.") from None
