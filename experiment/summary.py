"""The table of models that ends a job."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.crossval import Result
from experiment.metrics import METRICS


def print_results(results: Sequence[Result], console: Console) -> None:
    """One row a model: each metric over all out-of-fold rows, and below it the standard deviation over folds."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("out of fold", no_wrap=True)
    for name in METRICS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        cells = [f"{s['value']:.3f}\n±{s['sd']:.3f}" for s in result.scores.values()]
        partly = "" if result.complete else f"\n{result.done}/{result.folds} folds"
        table.add_row(f"{result.title}{partly}", *cells)
    console.print(table)
