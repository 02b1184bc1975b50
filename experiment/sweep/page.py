"""Page of a sweep: trials, best settings, and the importance of settings."""

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiment.core.cost import duration
from experiment.store.files import write_text
from experiment.sweep import figures as pictures
from experiment.sweep.ledger import Ledger
from experiment.sweep.settings import brief, importances, varied

TEMPLATES = [Path(__file__).parent / "templates", Path(__file__).parents[1] / "report" / "templates"]
MAX_ROWS = 50  # of the table of trials


def write(ledger: Ledger) -> Path:
    """Write ``report.html`` into the sweep's folder; return its path."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"duration": duration, "brief": brief}
    page = ledger.path / "report.html"
    write_text(page, environment.get_template("sweep.html.j2").render(_values(ledger)))
    return page


def headline(ledger: Ledger) -> list[str]:
    """Return the best settings, and the number of trials by state, as sentences."""
    trials, ranked = ledger.trials(), ledger.best_first()
    counts = Counter(trial.state for trial in trials)
    states = [f"{counts[state]} {state}" for state in ("complete", "raced out", "running", "failed") if state in counts]
    tried = f"{len(trials)} settings tried: {', '.join(states)}."
    if not ranked:
        return ["No setting is complete yet.", tried]
    best, columns = ranked[0], [column.key for column in varied(trials)]
    chosen = ", ".join(f"{key}={brief(best.settings[key])}" for key in columns if key in best.settings) or "the only setting"
    values = ", ".join(f"{aim.name} {value:.4g}" for aim, value in zip(ledger.objective, best.values, strict=True))
    by = f" by {ledger.objective[0].name}" if len(ledger.objective) > 1 else ""
    return [f"Best{by}: {chosen} ({values}).", tried]


def _values(ledger: Ledger) -> dict[str, Any]:
    trials, ranked = ledger.trials(), ledger.best_first()
    aim = ledger.objective[0]
    shares = importances(trials)
    columns = [column.key for column in varied(trials)]
    others = [trial for trial in trials if trial.state != "complete"]
    figures = {"history": pictures.history(trials, aim)} if any(trial.values for trial in trials) else {}
    if len(ranked) > 1 and varied(ranked):
        figures["parallel"] = pictures.parallel(trials, aim)
    if shares:
        figures["importance"] = pictures.importance(shares)
    done = sum(len(trial.folds) for trial in trials)
    full = max((len(trial.folds) for trial in ranked), default=0)
    return {
        "name": ledger.name,
        "headline": headline(ledger),
        "objectives": [aim.name for aim in ledger.objective],
        "optimistic": any(aim.name.startswith("test/") for aim in ledger.objective),
        "columns": columns,
        "rows": [*ranked, *others][:MAX_ROWS],
        "left_out": max(0, len(trials) - MAX_ROWS),
        "folds": f"{done} of {full * len(trials)} folds" if full else "",
        "seconds": sum(trial.seconds for trial in trials),
        "figures": figures,
        "best": ranked[0] if ranked else None,
    }
