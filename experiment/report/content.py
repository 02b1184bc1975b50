"""Content of a report, gathered from finished runs as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiment.core.differences import named
from experiment.core.errors import UserError
from experiment.core.tables import probability_columns
from experiment.metrics.evidence import Cohort, hardest
from experiment.report.evidence_file import Numbers
from experiment.report.findings import doubts, headline, warnings
from experiment.store.runs import Run

HARDEST = 12  # most images that all models get wrong
MANY = 4  # models, from which the title of a comparison gives their number alone


@dataclass(frozen=True)
class Content:
    """Content of one report."""

    title: str  # title of the page
    runs: Mapping[str, Run]  # runs by title, in the order of the page
    classes: Sequence[str]  # class names; `positive` is one of them
    positive: str  # class that sensitivity refers to
    numbers: Numbers  # computed numbers
    headline: Sequence[str]  # the answer in sentences
    doubts: Sequence[str]  # models that may have learned nothing; they are among the warnings
    warnings: Sequence[str]  # reasons to distrust the numbers
    confusion: Mapping[str, Sequence[Sequence[int]]]  # counts by title, true classes in rows, decided ones in columns
    hardest: Sequence[Mapping[str, Any]]  # images that all models get wrong
    splits: pd.DataFrame  # groups, images and positives per fold and part
    curves: Mapping[str, Mapping[str, pd.DataFrame]]  # epochs of each trained fold, by title
    versions: Mapping[str, str]  # versions of the software, and the machine

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Result of `experiment.metrics.evidence.evidence`."""
        return self.numbers.evidence

    @property
    def gaps(self) -> Sequence[Mapping[str, Any]]:
        """Optimism of choices; empty without an ensemble."""
        return self.numbers.gaps

    @property
    def last(self) -> Run:
        """Main run of the report."""
        return list(self.runs.values())[-1]


def gather(runs: Sequence[Run], folder: Path | None = None) -> Content:
    """Compare finished runs of the same images.

    The last run is the main one. Numbers stored by an earlier report in `folder`, or in that run's folder, are reused.

    Raises:
        UserError: the runs differ in images or classes.
    """
    titled = _titled(runs)
    first = runs[0].samples
    for title, run in titled.items():
        if (run.samples.classes, run.samples.positive) != (first.classes, first.positive):
            raise UserError(
                f"{title} has the classes {list(run.samples.classes)} (positive: {run.samples.positive}), "
                f"{next(iter(titled))} has {list(first.classes)} (positive: {first.positive}); only runs of the same question "
                "can be compared."
            )
    cohort = Cohort.of({title: run.oof for title, run in titled.items()}, first)
    numbers = Numbers.of(cohort, titled, [runs[-1].path, *([folder] if folder else [])])
    curves = {title: epochs for title, run in titled.items() if (epochs := run.curves())}
    last = runs[-1]
    is_whole = {run.path for run in runs} <= {run.path for run in last.with_inputs()}
    built_in = bool(last.config.get("built_in_images"))
    scores = {title: run.scores for title, run in titled.items()}
    confusion = {title: _confusion(run.oof, first.classes) for title, run in titled.items()}
    doubted = doubts(numbers.evidence, confusion, first.classes)
    markers = [marker for run in runs for marker in run.markers.values()]
    return Content(
        title=last.path.name if is_whole else " and ".join(titled) if len(runs) < MANY else f"{len(runs)} models",
        runs=titled,
        classes=first.classes,
        positive=first.positive,
        numbers=numbers,
        headline=headline(numbers.evidence, doubted),
        doubts=[reason for reasons in doubted.values() for reason in reasons],
        warnings=warnings(cohort, numbers.evidence, scores, curves, numbers.gaps, built_in, doubted, first.greys),
        confusion=confusion,
        hardest=hardest(cohort, HARDEST),
        splits=_splits(last),
        curves=curves,
        versions=next((m["versions"] for m in reversed(markers) if "versions" in m), {}),
    )


def _titled(runs: Sequence[Run]) -> dict[str, Run]:
    """Return runs by title; runs that share one also have the settings that differ, or else the names of their folders."""
    names = named([run.title for run in runs], [run.settings for run in runs])
    return {name if names.count(name) == 1 else run.path.name: run for name, run in zip(names, runs, strict=True)}


def _confusion(oof: pd.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    decided = oof[probability_columns(classes)].to_numpy().argmax(axis=1)
    table = pd.crosstab(oof["target"], pd.Series(decided, index=oof.index)).reindex(
        index=list(classes), columns=range(len(classes)), fill_value=0
    )
    return [[int(cell) for cell in row] for row in table.to_numpy()]


def _splits(run: Run) -> pd.DataFrame:
    """Count groups, images and positives per fold and part."""
    return (
        run.placed.groupby(["repeat", "fold", "part"])
        .agg(groups=("group", "nunique"), images=("sample_id", "size"), positives=("positive", "sum"))
        .reset_index()
    )
