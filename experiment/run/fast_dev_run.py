"""Job with Lightning's `trainer.fast_dev_run`: one batch of one fold of each model, to see whether it runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from experiment.core.tables import SampleTable, Split
from experiment.run.cross_validation import one_by_one
from experiment.run.job import prepare


def run_one_batch(config: Mapping[str, Any], console: Console) -> str:
    """Fit each model of a job on one batch of its first fold, and predict one batch of val and of test rows.

    Nothing is stored: runs and caches go to a temporary folder, and there is no tracker.

    Returns:
        A sentence for the user.

    Raises:
        UserError: settings or data that cannot be used.
    """
    with TemporaryDirectory() as scratch:
        moved = _moved(config, config["paths"]["cache"], Path(scratch, "cache"))
        config = {
            **moved,
            "logger": {"_target_": "experiment.tracking.trackers.Tracker"},
            "folds": {**config["folds"], "parallel": 1},
            "paths": {**moved["paths"], "runs": f"{scratch}/runs"},
        }
        validation, recipe = prepare(config, console)
        recipes = list(recipe.with_inputs())
        split = validation.scheme.selected(validation.splits)[0]
        if all(one.finished is None for one in recipes):  # the rows of a finished member are what they are
            split = one_batch(split, validation.data.samples, config["data"]["batch_size"])
        work = [(one, split) for one in recipes]
        with validation.progress.job([(one.title, one.epochs) for one, _ in work]):
            one_by_one(validation, work)
    titles = ", ".join(one.title for one, _ in work)
    return f"it runs: {titles} on one batch of {split.name}. Nothing is stored (trainer.fast_dev_run)."


def one_batch(split: Split, samples: SampleTable, size: int) -> Split:
    """Return the split with as many rows per part as a batch has: of each class the same number, of many groups."""
    each = max(2, size // len(samples.classes))

    def some(part: tuple[str, ...]) -> tuple[str, ...]:
        rows = samples.select(part)
        rows = rows.iloc[
            rows.groupby(["target", "group"]).cumcount().argsort(kind="stable")
        ]  # the first row of each group, ...
        return tuple(rows.groupby("target").head(each)["sample_id"])

    return replace(split, fit=some(split.fit), val=some(split.val), test=some(split.test))


def _moved(value: Any, old: str | None, new: Path) -> Any:
    """Return settings with all paths in the folder `old`, if there is one, moved to the folder `new`."""
    if isinstance(value, Mapping):
        return {key: _moved(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if old and isinstance(value, str) and Path(value).is_relative_to(old):
        return str(new / Path(value).relative_to(old))
    return value
