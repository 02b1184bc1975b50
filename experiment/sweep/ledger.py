"""What a sweep has tried, on disk: one small file a trial, which any process on the file system may write or read.

Layout::

    <runs>/sweeps/<name>/sweep.json             the question: objective, and digest of data, folds and seed
    <runs>/sweeps/<name>/trials/<run>.json      a trial, by the name of its run
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiment.core.errors import UserError
from experiment.metrics.objective import Objective, objectives

SWEEPS_FOLDER = "sweeps"  # below the runs
State = Literal["running", "complete", "raced out", "failed"]


@dataclass(frozen=True)
class Trial:
    """One setting, cross-validated.

    Attributes:
        run: name of its run's folder.
        settings: what was set for it, by key.
        state: ``raced out`` was given up after its first folds.
        folds: fold name to one value an objective.
        note: why it failed, or was given up.
        by: host and process.
        began: seconds since the epoch.
        seconds: that it took so far.
    """

    run: str
    settings: Mapping[str, str]
    state: State = "running"
    folds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    note: str = ""
    by: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    began: float = field(default_factory=time.time)
    seconds: float = 0.0

    @property
    def values(self) -> list[float]:
        """The objectives: means over the folds so far."""
        return [float(value) for value in np.mean(list(self.folds.values()), axis=0)] if self.folds else []

    def now(self, **changes: Any) -> "Trial":
        """The trial as it is now."""
        return replace(self, **changes, seconds=time.time() - self.began)


@dataclass(frozen=True)
class Ledger:
    """All trials of a sweep.

    Attributes:
        path: its folder.
        objective: what it optimises.
    """

    path: Path
    objective: tuple[Objective, ...]

    @classmethod
    def of(cls, root: Path, name: str | None, question: str, named: Sequence[str]) -> "Ledger":
        """The sweep of this name below `root`; made if it is not there.

        Args:
            root: where runs are stored.
            name: None takes one that follows from the question, so that all trials of one question share a ledger.
            question: digest of what all trials must have in common: data, folds, seed.
            named: the objectives.

        Raises:
            UserError: trials of this name answer another question.
        """
        asked = {"question": question, "objective": list(named)}
        path = root / SWEEPS_FOLDER / (name or f"{question[:12]}-{'-'.join(named).replace('/', '-')}")
        file = path / "sweep.json"
        if not file.exists():
            (path / "trials").mkdir(parents=True, exist_ok=True)
            _write(file, asked)
        found = json.loads(file.read_text())
        for what, said in (("question", "data, folds or seed"), ("objective", f"objective ({found['objective']})")):
            if found[what] != asked[what]:
                raise UserError(
                    f"sweep.name={path.name} holds trials with other {said}, and theirs cannot be compared; take another name."
                )
        return cls(path, objectives(named))

    @classmethod
    def at(cls, path: Path) -> "Ledger":
        """The sweep in this folder.

        Raises:
            UserError: there is none.
        """
        if not (path / "sweep.json").is_file():
            raise UserError(f"{path} holds no sweep: it has no sweep.json. Sweeps are in {SWEEPS_FOLDER}/ below the runs.")
        return cls(path, objectives(json.loads((path / "sweep.json").read_text())["objective"]))

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.path.name

    def write(self, trial: Trial) -> None:
        """Keep what is known of a trial; an earlier state of the same one is replaced."""
        _write(self.path / "trials" / f"{trial.run}.json", asdict(trial))

    def trials(self) -> list[Trial]:
        """All of them, in the order in which they began."""
        files = (self.path / "trials").glob("[!.]*.json")
        return sorted((Trial(**json.loads(file.read_text())) for file in files), key=lambda trial: (trial.began, trial.run))

    def best_first(self) -> list[Trial]:
        """Complete trials by their first objective."""
        sign = -1 if self.objective[0].larger_is_better else 1
        return sorted((t for t in self.trials() if t.state == "complete"), key=lambda trial: sign * trial.values[0])


def ledgers(root: Path) -> list[Ledger]:
    """All sweeps whose runs are stored below `root`."""
    return [Ledger.at(file.parent) for file in sorted((root / SWEEPS_FOLDER).glob("*/sweep.json"))]


def _write(file: Path, content: object) -> None:
    beside = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    beside.write_text(json.dumps(content, indent=1))
    os.replace(beside, file)
