"""Publish complete runs: the report, and their summaries in the tracker, each once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiment.core.contracts import FoldData
from experiment.core.job_context import in_sweep
from experiment.metrics.objective import named_values
from experiment.report.content import Content, gather
from experiment.report.page import write
from experiment.store.files import write_text
from experiment.store.results import Result
from experiment.store.runs import Run
from experiment.terminal.consoles import err, out
from experiment.terminal.summary import print_published, print_results
from experiment.tracking.trackers import Summary, Tracker

SHOWN = "shown.json"  # names of the trackers that have the run's summary


def present(results: Sequence[Result], data: FoldData, tracker: Tracker, objective: str | Sequence[str]) -> None:
    """Print the results of a job, publish them, and print where they are; a trial of a sweep prints and reports nothing."""
    if not in_sweep():
        print_results(results, out)
    if page := publish(results, data, tracker, objective, page=not in_sweep()):
        print_published(page, out)
    if note := tracker.close():
        err.print(note, highlight=False)


def publish(
    results: Sequence[Result], data: FoldData, tracker: Tracker, objective: str | Sequence[str], page: bool = True
) -> Path | None:
    """Write the report of a complete job, and send the tracker the summaries that it does not have.

    If a job was stopped before that, or ran without a tracker, the next command does it. Without `page` no report is written:
    a sweep writes one on all its trials instead.

    Returns:
        The page of the report; None while folds are missing, or if there is none.
    """
    if not results[-1].complete:
        return None
    file = results[-1].run.path / "report.html"
    unseen = [result.run for result in results if tracker.name and tracker.name not in _seen_by(result.run)]
    if not unseen and (file.exists() or not page):
        return file if file.exists() else None
    content = gather(Run.load(results[-1].run.path).with_inputs())
    if page and not file.exists():
        write(content, file.parent, data.picture)
    for run in unseen:
        if tracker.summary(_summary(run, content, data, named_values(objective, run.path), asked=run == results[-1].run)):
            write_text(run.path / SHOWN, json.dumps([*_seen_by(run), tracker.name]))
    return file if file.exists() else None


def _seen_by(run: Run) -> list[str]:
    file = run.path / SHOWN
    return list(json.loads(file.read_text())) if file.exists() else []


def _summary(run: Run, content: Content, data: FoldData, objective: Mapping[str, float], asked: bool) -> Summary:
    title, finished = next((title, shown) for title, shown in content.runs.items() if shown == run)
    return Summary(
        run=finished.path,
        config={**finished.config, "title": title},
        scores=finished.scores,
        evidence=content.evidence["models"][title],
        pairs=[pair for pair in content.evidence["pairs"] if title in (pair["first"], pair["second"])],
        oof=finished.oof,
        cost=finished.cost,
        objective=objective,
        asked=asked,
        files=[finished.path / name for name in ("splits.parquet", "oof.parquet", "metrics.json", "report.html")],
        picture=data.picture,
    )
