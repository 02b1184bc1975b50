"""What a job ends with in the terminal: the table of models, and the answer in words."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.core.cost import in_words
from experiment.metrics.scores import METRICS
from experiment.store.results import Result


def print_results(results: Sequence[Result], console: Console) -> None:
    """Print each model's metrics over all out-of-fold rows, and their 95 % intervals once all folds are finished."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("out of fold", no_wrap=True)
    for name in METRICS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        if result.complete:
            table.add_row(result.title, *_cells(result, "value"))
            table.add_row("  95 % from", *_cells(result, "low"), style="dim")
            table.add_row("         to", *_cells(result, "high"), style="dim")
        else:
            table.add_row(f"{result.title}\n{result.done}/{result.folds} folds", *_cells(result, "value"))
    console.print(table)
    for result in results:
        if result.cost["seconds"] >= 1:
            console.print(f"{result.title}: {in_words(result.cost)}", style="dim", highlight=False)


def print_published(page: Path, console: Console) -> None:
    """Print the answer in words, models that may have learned nothing, and the path of the report."""
    evidence = json.loads(page.with_name("evidence.json").read_text())
    console.print(" ".join(evidence["headline"]), highlight=False, markup=False)
    for doubt in evidence.get("doubts", []):  # a report of an earlier version has none
        console.print(f"warning: {doubt}", style="yellow", highlight=False, markup=False)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)


def _cells(result: Result, which: str) -> list[str]:
    values = [scores.get(which, math.nan) for scores in result.scores.values()]
    return [f"{value:z.3f}" if math.isfinite(value) else "–" for value in values]
