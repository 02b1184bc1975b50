"""The table of models that ends a job."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.crossval import Result
from experiment.metrics import METRICS


def print_results(results: Sequence[Result], console: Console) -> None:
    """One row a model: each metric over all out-of-fold rows, and below it the 95 % interval once all folds are there."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("out of fold", no_wrap=True)
    for name in METRICS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        cells = [f"{s['value']:.3f}\n{_interval(s)}" for s in result.scores.values()]
        partly = "" if result.complete else f"\n{result.done}/{result.folds} folds"
        table.add_row(f"{result.title}{partly}", *cells)
    console.print(table)


def _interval(s: Mapping[str, Any]) -> str:
    """``.93–.96``: two decimals without the zero in front, so that nine metrics fit a terminal."""
    ends = [s.get("low", math.nan), s.get("high", math.nan)]
    return "–".join(f"{end:.2f}".replace("0.", ".", 1) for end in ends) if all(map(math.isfinite, ends)) else ""
