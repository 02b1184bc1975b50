"""Page of a sweep: trials, best settings, and the importance of settings."""

from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiment.core.cost import duration
from experiment.core.errors import listed
from experiment.report.requests import build_report, load_runs
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


def report_on_best(ledger: Ledger) -> None:
    """Write the report of the best trial's run, which the sweep's page links to; trials have none of their own."""
    for best in ledger.best_first()[:1]:
        run = ledger.run_of(best)
        if (run / "metrics.json").is_file() and not (run / "report.html").exists():
            build_report(*load_runs(str(run), None))


def headline(ledger: Ledger) -> list[str]:
    """Return as sentences: the best settings, what ties with them, their test rows, and the number of trials by state."""
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
    number = trials.index(best) + 1
    ties = [trials.index(trial) + 1 for trial in ledger.ties()]
    equal = f"Trials {listed(ties)} tie; the first of them is named." if ties else ""
    unseen = f"On its test rows, which took no part in choosing: {best.test_value:.4g}." if best.test_value is not None else ""
    return [f"Best{by}: trial {number}, {chosen} ({values}).", *filter(None, [equal, unseen]), tried]


def _values(ledger: Ledger) -> dict[str, Any]:
    trials, ranked = ledger.trials(), ledger.best_first()
    aim = ledger.objective[0]
    shares = importances(trials)
    columns = [column.key for column in varied(trials)]
    others = [trial for trial in trials if trial.state != "complete"]
    figures = {"history": pictures.history(ledger)} if any(trial.values for trial in trials) else {}
    if len(ranked) > 1 and varied(ranked):
        figures["parallel"] = pictures.parallel(ledger)
    if shares:
        figures["importance"] = pictures.importance(shares)
    done = sum(len(trial.folds) for trial in trials)
    full = max((len(trial.folds) for trial in ranked), default=0)
    best = ranked[0] if ranked else None
    return {
        "name": ledger.name,
        "headline": headline(ledger),
        "objectives": [aim.name for aim in ledger.objective],
        "optimistic": any(aim.name.startswith("test/") for aim in ledger.objective),
        "data": ledger.data,
        "commands": list(dict.fromkeys(trial.command for trial in reversed(trials) if trial.command)),
        "unseen": aim.unseen.name if aim.unseen else None,
        "columns": columns,
        "rows": [*ranked, *others][:MAX_ROWS],
        "numbers": {trial.run: number for number, trial in enumerate(trials, 1)},
        "left_out": max(0, len(trials) - MAX_ROWS),
        "folds": f"{done} of {full * len(trials)} folds" if full else "",
        "seconds": sum(trial.seconds for trial in trials),
        "figures": figures,
        "wide": len(columns) > 3,
        "best": best,
        "report": f"../../{best.run}/report.html" if best and (ledger.run_of(best) / "report.html").is_file() else None,
    }
