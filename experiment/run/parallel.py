"""Cross-validation in several processes, each of which builds the job from its config once and finishes single folds."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import torch
from rich.console import Console

from experiment.core.folds import Splits
from experiment.core.tables import Split
from experiment.run.cores import cores
from experiment.run.cross_validation import CrossValidation, Missing, Work, one_by_one
from experiment.run.job import loaded
from experiment.run.recipe import Recipe
from experiment.run.tasks import Finish, Key, Task, run_tasks
from experiment.run.training import is_ddp
from experiment.run.workers import Workers, use_threads
from experiment.terminal.progress import Progress, Report

Folds = Mapping[Key, tuple[Recipe, Split, int]]  # with threads


def work_of(validation: CrossValidation, recipe: Recipe) -> Work:
    """Return the function that finishes the missing folds of a job on this machine."""
    if is_ddp(recipe.trainer):
        return one_by_one  # with all devices
    scheme = validation.scheme
    uses_gpu = recipe.trainer.get("accelerator") != "cpu"
    return partial(side_by_side, workers=Workers.of(scheme.parallel, scheme.k * scheme.repeats, uses_gpu))


def side_by_side(validation: CrossValidation, missing: Missing, workers: Workers) -> None:
    """Finish these folds in several processes. Models that others wait for come first: short work fills the end.

    Of five folds on two cores the fifth would leave a core idle, so it waits until all others are done and takes both.
    Without gradient steps this process works alone, with all threads: starting others would cost more than it saves, and the
    numbers do not depend on threads.
    """
    trained = any(recipe.trained for recipe, _ in missing)
    scheme = validation.scheme
    threads = {split: workers.threads_of(split.repeat * scheme.k + split.fold) for _, split in missing}
    if workers.processes == 1 or not trained or len(threads) < 2:
        torch.set_num_threads(max(threads.values(), default=1) if trained else cores())
        return one_by_one(validation, missing)
    folds = {(recipe.identity, split.name): (recipe, split, threads[split]) for recipe, split in missing}
    tasks = [
        Task(key, [(needed.identity, split.name) for needed in recipe.inputs.values()])
        for key, (recipe, split, _) in sorted(folds.items(), key=lambda item: (item[1][2], _depth(item[1][0])))
    ]
    progress, arguments = validation.progress, [validation.config, validation.splits, folds]
    with closing(run_tasks(tasks, workers, _start, arguments, progress.epoch)) as results:
        for key, marker in results:
            recipe, split, _ = folds[key]
            if marker is None:
                progress.waiting(recipe.title, split, validation.holder_of(recipe, split))
            else:
                progress.finished(recipe.title, split, marker)


def _depth(recipe: Recipe) -> int:
    return len(list(recipe.with_inputs()))


def _start(config: Mapping[str, Any], splits: Splits, folds: Folds, report: Report) -> Finish:
    """Build the job, which is checked already, in a worker; return the function that finishes one model on one fold."""
    validation = loaded(config, Progress(Console(quiet=True), report=report), splits)

    def finish(*key: str) -> dict[str, Any] | None:
        recipe, split, threads = folds[key[0], key[1]]
        use_threads(threads)
        fold = validation.finish(recipe, split)
        return None if fold is None else fold.marker

    return finish
