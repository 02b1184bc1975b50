"""The table of models that ends a job."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from experiment.crossval import Result
from experiment.metrics import METRICS


def print_results(results: Sequence[Result], console: Console) -> None:
    """One row a model: each metric over all out-of-fold rows, and below it the standard deviation over folds."""
    table = Table(title="Out-of-fold results (± standard deviation over folds)", title_justify="left")
    table.add_column("Model")
    for name in METRICS.values():
        table.add_column(name, justify="right")
    for result in results:
        cells = [f"{s['value']:.3f}\n±{s['sd']:.3f}" for s in result.scores.values()]
        partly = "" if result.complete else f"\n{result.done} of {result.folds} folds"
        table.add_row(f"{result.title}{partly}", *cells)
    console.print(table)
