"""Table of runs in the terminal: data set, settings that differ, date, folds and scores; below it the sweeps."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiment.core.cost import duration
from experiment.core.errors import one_line
from experiment.sweep.ledger import SWEEPS_FOLDER, Ledger
from experiment.sweep.prune import Removal
from experiment.sweep.run_status import BAD_FILE, Row, RunStatus, State, in_line
from experiment.sweep.summary import print_sweep

MARKS: dict[State, tuple[str, str]] = {
    "done": ("■", "green"), "running": ("▶", "cyan"), "stale": ("◌", "yellow"),
    "failed": ("✗", "red"), "damaged": ("!", "red"), "missing": ("·", "dim"),
}  # fmt: skip
MANY = 10  # folds, above which they are counted


def print_runs(rows: Sequence[Row], console: Console) -> None:
    """Print one row per run, and one line per fold that is running, stale, failed or damaged."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", max_width=26)
    table.add_column("data", overflow="fold", max_width=16)
    table.add_column("settings that differ", overflow="fold")
    for column, justify in (("finished", "left"), ("folds", "left"), ("val", "right"), ("test", "right"), ("time", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    notes = []
    for run, settings in rows:
        texts = [run.path.name, f"{run.data} {run.images or ''}".strip(), in_line(settings), _date(run.when)]
        scores = [f"{mean:.3f}" if math.isfinite(mean := run.mean(part)) else "–" for part in ("val", "test")]
        table.add_row(*map(Text, texts), _folds(run), *scores, duration(sum(fold.seconds for fold in run.done)))
        if run.damage:
            notes.append(f"{run.path.name}: damaged, {run.damage}")
        for fold in run.folds:
            if fold.note:
                spent = f" ({duration(fold.seconds)})" if fold.seconds else ""
                notes.append(f"{run.path.name} {fold.name}: {fold.state}, {fold.note}{spent}")
    console.print(table)
    legend = "■ done  ▶ running  ◌ stale: its job is gone  ✗ failed  ! damaged  · missing"
    console.print(f"{legend}; val and test: balanced accuracy", style="dim", highlight=False)
    for note in notes:
        console.print(note, highlight=False, markup=False)


def print_removals(removals: Mapping[str, Removal], console: Console) -> None:
    """Print what may be removed of each kind."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, justify in (("prune", "left"), ("MB", "right"), ("files or folders", "right"), ("left", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for kind, removal in removals.items():
        table.add_row(kind, f"{removal.megabytes:.1f}", str(len(removal.paths)), removal.left)
    console.print(table)


def _date(when: datetime) -> str:
    return f"{when:%d %b %H:%M}" if when.year == datetime.now().year else f"{when:%d %b %Y}"


def _folds(run: RunStatus) -> Text:
    """Return a mark per fold, or the counts of many folds."""
    if run.damage and not run.folds:
        return Text("damaged", style="red")
    if len(run.folds) <= MANY:
        return Text.assemble(*(MARKS[fold.state] for fold in run.folds))
    counts = Counter(fold.state for fold in run.folds)
    others = [(f" {MARKS[state][0]}{counts[state]}", MARKS[state][1]) for state in MARKS if state != "done" and counts[state]]
    return Text.assemble(f"{counts['done']}/{len(run.folds)}", *others)


def print_sweeps(root: Path, console: Console) -> None:
    """Print each sweep below `root`."""
    for file in sorted((root / SWEEPS_FOLDER).glob("*/sweep.json")):
        try:
            print_sweep(Ledger.at(file.parent), console)
        except BAD_FILE as error:
            console.print(f"sweep {file.parent.name}: damaged, {one_line(error)}", highlight=False, markup=False)
