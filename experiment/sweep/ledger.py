"""Log of a sweep's trials on disk: one small file per trial, which any process on the file system may write or read.

Layout::

    <runs>/sweeps/<name>/sweep.json             the question: objective, and digest of data, folds and seed
    <runs>/sweeps/<name>/trials/<run>.json      one trial, by the name of its run
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiment.core.errors import UserError
from experiment.core.names import folder_name
from experiment.metrics.objective import Objective, objectives
from experiment.store.files import write_text

SWEEPS_FOLDER = "sweeps"  # below the runs
DIGITS = 9  # of objectives that are told apart: sums in another order differ in the last ones
State = Literal["running", "complete", "raced out", "failed"]


@dataclass(frozen=True)
class Trial:
    """Cross-validation of one combination of settings."""

    run: str  # name of the run's folder
    settings: Mapping[str, str]  # overrides by key
    state: State = "running"  # state of the trial; ``raced out`` means stopped after its first folds
    folds: Mapping[str, Sequence[float]] = field(default_factory=dict)  # one value per objective, by the name of the fold
    note: str = ""  # why it failed, or was stopped
    by: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")  # host and process
    began: float = field(default_factory=time.time)  # seconds since the epoch
    seconds: float = 0.0  # duration so far
    test: Mapping[str, float] = field(default_factory=dict)  # first objective on test rows, by fold, if chosen by on val rows
    command: str = ""  # of the sweep

    @property
    def values(self) -> list[float]:
        """Objectives: means over the folds so far."""
        return [float(value) for value in np.mean(list(self.folds.values()), axis=0)] if self.folds else []

    @property
    def test_value(self) -> float | None:
        """First objective on test rows: mean over the folds so far; None if it was not chosen by on val rows."""
        return float(np.mean(list(self.test.values()))) if self.test else None

    def now(self, **changes: Any) -> "Trial":
        """Return the trial with these changes and its duration so far."""
        return replace(self, **changes, seconds=time.time() - self.began)


@dataclass(frozen=True)
class Ledger:
    """Log of all trials of a sweep."""

    path: Path  # folder of the sweep
    objective: tuple[Objective, ...]  # objectives of the sweep
    data: str = ""  # images and folds in words

    @classmethod
    def of(cls, root: Path, name: str, question: str, named: Sequence[str], data: str = "") -> "Ledger":
        """Return the ledger of this name below the folder of the runs, creating it if needed.

        `question` is a digest of what all trials must have in common: data, folds, seed; `data` says it in words.

        Raises:
            UserError: the name cannot be a folder's, or the ledger of this name belongs to another question.
        """
        content = {"question": question, "objective": list(named), "data": data}
        path = root / SWEEPS_FOLDER / folder_name("sweep.name", name)
        file = path / "sweep.json"
        if not file.exists():
            (path / "trials").mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(content, indent=1))
        stored = json.loads(file.read_text())
        for key, words in (("question", "data, folds or seed"), ("objective", f"objective ({stored['objective']})")):
            if stored[key] != content[key]:
                raise UserError(
                    f"sweep.name={path.name} has trials with other {words}, which cannot be compared; take another name."
                )
        return cls.at(path)

    @classmethod
    def at(cls, path: Path) -> "Ledger":
        """Return the ledger in this folder.

        Raises:
            UserError: the folder has none.
        """
        if not (path / "sweep.json").is_file():
            raise UserError(f"{path} is no sweep: it has no sweep.json. Sweeps are in {SWEEPS_FOLDER}/ below the runs.")
        content = json.loads((path / "sweep.json").read_text())
        return cls(path, objectives(content["objective"]), content.get("data", ""))

    @property
    def name(self) -> str:
        """Name of the sweep's folder."""
        return self.path.name

    def write(self, trial: Trial) -> None:
        """Write the state of a trial, replacing its earlier state."""
        write_text(self.path / "trials" / f"{trial.run}.json", json.dumps(asdict(trial), indent=1))

    def trials(self) -> list[Trial]:
        """Return all trials in the order in which they began."""
        files = (self.path / "trials").glob("[!.]*.json")
        return sorted((Trial(**json.loads(file.read_text())) for file in files), key=lambda trial: (trial.began, trial.run))

    def best_first(self) -> list[Trial]:
        """Return the complete trials, best first objective first; of equal ones the earlier first."""
        sign = -1 if self.objective[0].larger_is_better else 1
        return sorted((t for t in self.trials() if t.state == "complete"), key=lambda t: sign * round(t.values[0], DIGITS))

    def ties(self) -> list[Trial]:
        """Return the best trial and those with the same objectives; none if there are no others."""
        ranked = self.best_first()
        equal = [trial for trial in ranked if np.array_equal(*np.round([trial.values, ranked[0].values], DIGITS))]
        return equal if len(equal) > 1 else []

    def run_of(self, trial: Trial) -> Path:
        """Return the folder of a trial's run, which may have been deleted since."""
        return self.path.parents[1] / trial.run


def ledgers(root: Path) -> list[Ledger]:
    """Return the ledgers of all sweeps whose runs are stored below `root`."""
    return [Ledger.at(file.parent) for file in sorted((root / SWEEPS_FOLDER).glob("*/sweep.json"))]
