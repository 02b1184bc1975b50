"""Summary of a sweep in the terminal, best settings first."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiment.core.cost import duration
from experiment.sweep.ledger import Ledger
from experiment.sweep.page import headline
from experiment.sweep.settings import brief, importances, varied

BEST = 10  # rows


def print_sweep(ledger: Ledger, console: Console) -> None:
    """Print the best trials, the headline, and the importance of settings."""
    trials, ranked = ledger.trials(), ledger.best_first()
    columns = [column.key for column in varied(trials)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"sweep {ledger.name}", title_justify="left")
    for key in columns:
        table.add_column(key.rsplit(".", 1)[-1], no_wrap=True)
    for aim in ledger.objective:
        table.add_column(aim.name, justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    for trial in ranked[:BEST]:
        values = [f"{value:.4f}" for value in trial.values]
        settings = [Text(brief(trial.settings.get(key, "default"))) for key in columns]  # [layer3] is no markup
        table.add_row(*settings, *values, duration(trial.seconds), trial.run)
    console.print(table)
    console.print(" ".join(headline(ledger)), highlight=False, markup=False)
    if shares := importances(trials):
        text = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
        console.print(f"Share of the variance that each setting explains: {text}.", highlight=False, markup=False)
