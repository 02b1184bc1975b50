"""Summary of a sweep in the terminal, best settings first."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiment.core.cost import duration
from experiment.sweep.ledger import Ledger
from experiment.sweep.page import headline
from experiment.sweep.settings import brief, importances, labels, varied

BEST = 10  # rows


def print_sweep(ledger: Ledger, console: Console) -> None:
    """Print the best trials, the headline, and the importance of settings."""
    trials, ranked = ledger.trials(), ledger.best_first()
    columns = labels([column.key for column in varied(trials)])
    unseen = ledger.objective[0].unseen
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"sweep {ledger.name}", title_justify="left")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("settings")  # in one column, which wraps: of many, each would be cut
    for aim in [*ledger.objective, *([unseen] if unseen else [])]:
        table.add_column(aim.name.replace("/", "/\n").replace("_", "\n"), justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    for trial in ranked[:BEST]:
        values = [*trial.values, *([trial.test_value] if unseen else [])]
        numbers = ["–" if value is None else f"{value:.4f}" for value in values]
        chosen = (f"{short}={brief(trial.settings.get(key, 'default'))}" for key, short in columns.items())
        settings = Text(" ".join(chosen))  # [layer3] is no markup
        table.add_row(str(trials.index(trial) + 1), settings, *numbers, duration(trial.seconds), trial.run)
    console.print(table)
    console.print(" ".join(headline(ledger)), highlight=False, markup=False)
    if shares := importances(trials):
        text = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
        console.print(f"Share of the variance that each setting explains: {text}.", highlight=False, markup=False)
