"""Status of all runs from their folder: folds that are done, running, failed or missing."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiment.core.cost import duration
from experiment.core.errors import UserError
from experiment.core.tables import MARKER
from experiment.store.attempt import failure
from experiment.store.lease import holder
from experiment.store.runs import IDENTITY
from experiment.sweep.ledger import ledgers
from experiment.sweep.summary import print_sweep

State = Literal["done", "running", "stale", "failed", "missing"]
MARKS: dict[State, tuple[str, str]] = {
    "done": ("■", "green"), "running": ("▶", "cyan"), "stale": ("◌", "yellow"),
    "failed": ("✗", "red"), "missing": ("·", "dim"),
}  # fmt: skip
METRIC = "balanced_accuracy"


@dataclass(frozen=True)
class FoldStatus:
    """Status of one fold of a run."""

    name: str  # for example ``repeat-0/fold-3``
    state: State  # state of the fold; ``stale`` means begun by a job that is gone, and the next command takes over
    note: str = ""  # process that works on it, or why it failed
    seconds: float = 0.0  # duration, so far if it is running
    scores: dict[str, float] | None = None  # balanced accuracy by part

    @classmethod
    def of(cls, run: Path, name: str) -> "FoldStatus":
        """Read the status from the files of the run."""
        place = run / name
        if (place / MARKER).is_file():
            marker = json.loads((place / MARKER).read_text())
            by_part = {part: scores[METRIC] for part, scores in marker.get("scores", {}).items()}
            return cls(name, "done", seconds=marker["seconds"], scores=by_part)
        if owner := holder(place.with_name(f".{place.name}.lease")):
            state: State = "stale" if owner.stale else "running"
            return cls(name, state, str(owner), seconds=time.time() - owner.since)
        if failed := failure(place.with_name(f".{place.name}.failed")):
            return cls(name, "failed", failed)
        return cls(name, "missing")


def runs(root: Path) -> Iterator[tuple[Path, list[FoldStatus]]]:
    """Yield each run below `root` with its folds, the most recently changed run last.

    Raises:
        UserError: the folder does not exist.
    """
    if not root.is_dir():
        raise UserError(f"paths.runs={root} does not exist; give the folder that train.py writes to.")
    for identity in sorted(root.glob(f"*/{IDENTITY}"), key=lambda file: file.parent.stat().st_mtime):
        run = identity.parent
        if (splits := run / "splits.parquet").is_file():
            folds = pd.read_parquet(splits, columns=["repeat", "fold"]).drop_duplicates().sort_values(["repeat", "fold"])
            yield run, [FoldStatus.of(run, f"repeat-{repeat}/fold-{fold}") for repeat, fold in folds.to_numpy().tolist()]


def print_status(root: Path, console: Console, complete: bool = True) -> None:
    """Print one row per run, one line per running, stale or failed fold, and the sweeps."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, right in (("run", 0), ("folds", 0), ("done", 1), ("val BalAcc", 1), ("test BalAcc", 1), ("time", 1)):
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    notes = []
    for run, folds in runs(root):
        done = [fold for fold in folds if fold.state == "done"]
        if len(done) == len(folds) and not complete:
            continue
        marks = Text()
        for fold in folds:
            marks.append(*MARKS[fold.state])
            if fold.note:
                notes.append(f"{run.name} {fold.name}: {fold.state}, {fold.note} ({duration(fold.seconds)})")
        scores = [_mean([fold.scores or {} for fold in done], part) for part in ("val", "test")]
        table.add_row(run.name, marks, f"{len(done)}/{len(folds)}", *scores, duration(sum(fold.seconds for fold in done)))
    console.print(table)
    console.print("■ done  ▶ running  ◌ stale: its job is gone  ✗ failed  · missing", style="dim", highlight=False)
    for note in notes:
        console.print(note, highlight=False, markup=False)
    for ledger in ledgers(root):
        print_sweep(ledger, console)


def _mean(scores: list[dict[str, float]], part: str) -> str:
    values = [score[part] for score in scores if part in score]
    return f"{np.mean(values):.3f}" if values else "–"
