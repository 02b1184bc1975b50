"""What is made of complete runs: the report, and their summaries in the tracker. Each is made once."""

import json
from collections.abc import Mapping, Sequence

from experiment.core.contracts import FoldData
from experiment.metrics.objective import named_values
from experiment.report.content import Content, gather
from experiment.report.page import write
from experiment.store.finished import FinishedRun
from experiment.store.results import Published, Result
from experiment.store.runs import Run
from experiment.tracking.trackers import Summary, Tracker

SHOWN = "shown.json"  # the trackers that have a run's summary


def publish(
    results: Sequence[Result], data: FoldData, tracker: Tracker, objective: str | Sequence[str], page: bool = True
) -> Published | None:
    """Write the report of a complete job, and tell the tracker of the runs that it has not seen.

    A job that was stopped before, or ran without a tracker, is made up for by the next command.

    Args:
        results: of every model, the one that was asked for last.
        data: reads the pictures.
        tracker: is told of runs that it has not seen.
        objective: what a sweep goes by; the tracker is told it with each run.
        page: whether a report is wanted; a sweep reports once, on all its trials.

    Returns:
        Where the report is and what it says first; None while folds are missing, and where no report is wanted.
    """
    if not results[-1].complete:
        return None
    file = results[-1].run.path / "report.html"
    unseen = [result.run for result in results if tracker.name and tracker.name not in _seen_by(result.run)]
    if not unseen and (file.exists() or not page):
        return Published.beside(results[-1].run) if file.exists() else None
    content = gather(FinishedRun.at(results[-1].run.path).everyone())
    if page and not file.exists():
        write(content, file.parent, data.picture)
    for run in unseen:
        if tracker.summary(_summary(run, content, data, named_values(objective, run.path), asked=run == results[-1].run)):
            run.write(SHOWN, json.dumps([*_seen_by(run), tracker.name]))
    return Published(file, list(content.headline)) if file.exists() else None


def _seen_by(run: Run) -> list[str]:
    file = run.path / SHOWN
    return list(json.loads(file.read_text())) if file.exists() else []


def _summary(run: Run, content: Content, data: FoldData, objective: Mapping[str, float], asked: bool) -> Summary:
    title, finished = next((title, found) for title, found in content.runs.items() if found.path == run.path)
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
