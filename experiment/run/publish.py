"""Publish complete runs: the report, and their summaries in the tracker, each once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiment.core.contracts import FoldData
from experiment.core.job_context import in_sweep
from experiment.metrics.objective import named_values
from experiment.report.content import Content, gather
from experiment.report.page import write
from experiment.run.cross_validation import CrossValidation
from experiment.run.recipe import Recipe
from experiment.store.files import write_text
from experiment.store.results import Result
from experiment.store.runs import Run
from experiment.terminal.consoles import err, out
from experiment.terminal.summary import print_published, print_results
from experiment.tracking.summary import Summary, progress
from experiment.tracking.trackers import Tracked, Tracker, Trackers

SHOWN = "shown.json"  # names of the trackers that have the run's summary
Objectives = str | Sequence[str]  # of the config


def present(validation: CrossValidation, recipe: Recipe, results: Sequence[Result]) -> None:
    """Print the results of a job, publish them, and print where they are; a trial of a sweep prints and reports nothing."""
    objective, trackers, alone = validation.config["objective"], validation.trackers, not in_sweep()
    if alone:
        print_results(results, out)
    tracked = [validation.tracked(one) for one in recipe.with_inputs()]
    if page := publish(results, tracked, validation.data, trackers, objective, page=alone):
        print_published(page, out)
    if not tracked[-1].sweep:  # a sweep has one note on all its trials
        for note in filter(None, (tracker.note(tracked) for tracker in trackers.members)):
            err.print(note, highlight=False, soft_wrap=True)


def publish(
    results: Sequence[Result],
    tracked: Sequence[Tracked],
    data: FoldData,
    trackers: Trackers,
    objective: Objectives,
    page: bool = True,
) -> Path | None:
    """Write the report of a complete job, and send each tracker the summaries that it does not have.

    If a job was stopped before that, or ran without a tracker, the next command does it. Without `page` no report is written:
    a sweep writes one on all its trials instead.

    Args:
        results: results of all models of the job, that of the command's model last.
        tracked: the same models as trackers show them.
        data: reads images.
        trackers: trackers of the job.
        objective: objectives of the config.
        page: whether to write the report.

    Returns:
        The page of the report; None while folds are missing, or if there is none.
    """
    if not results[-1].complete:
        return None
    file = results[-1].run.path / "report.html"
    shown = [*zip(results, tracked, strict=True)][0 if trackers.all_of(tracked[-1]) else -1 :]
    unseen = [
        (tracker, result, one)
        for result, one in shown
        for tracker in trackers.members
        if _name(tracker, one) not in _seen_by(one)
    ]
    if not unseen and (file.exists() or not page):
        return file if file.exists() else None
    content = gather(Run.load(results[-1].run.path).with_inputs())
    if page and not file.exists():
        write(content, file.parent, data.picture)
    for tracker, result, one in unseen:
        values = named_values(objective, result.run.path)
        if tracker.summary(_summary(result, one, content, data, values, asked=result == results[-1])):
            _remember(one, _name(tracker, one))
    return file if file.exists() else None


def publish_stopped(tracked: Tracked, trackers: Trackers, objective: Mapping[str, float], folds: int) -> None:
    """Send each tracker the objective of a trial that a race stopped after so many folds, once."""
    for tracker in trackers.members:
        name = f"{_name(tracker, tracked)} after {folds} folds"
        if name not in _seen_by(tracked) and tracker.stopped(tracked, progress(objective, folds)):
            _remember(tracked, name)


def _name(tracker: Tracker, tracked: Tracked) -> str:
    """Return the name under which a run records that a tracker has its summary: in each sweep it is another one."""
    return f"{tracker.name} {tracked.sweep.name}" if tracked.sweep else tracker.name


def _seen_by(tracked: Tracked) -> list[str]:
    file = tracked.run / SHOWN
    return list(json.loads(file.read_text())) if file.exists() else []


def _remember(tracked: Tracked, name: str) -> None:
    write_text(tracked.run / SHOWN, json.dumps([*_seen_by(tracked), name]))


def _summary(
    result: Result, tracked: Tracked, content: Content, data: FoldData, objective: Mapping[str, float], asked: bool
) -> Summary:
    title, finished = next((title, shown) for title, shown in content.runs.items() if shown == result.run)
    return Summary(
        tracked=replace(tracked, title=title),
        folds=result.done,
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
