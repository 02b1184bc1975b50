"""A cross-validation in several processes: each makes the job anew from its config and finishes the folds it is given."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from os import devnull
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from experiment.core.build import class_of
from experiment.core.identity import digest
from experiment.core.tables import Split
from experiment.run.clone import Clone
from experiment.run.cores import cores
from experiment.run.cross_validation import CrossValidation, Missing, Work, one_by_one
from experiment.run.job import prepare
from experiment.run.recipe import Recipe
from experiment.run.training import is_ddp
from experiment.run.workers import Task, Workers, run_tasks, use_threads

_folds: dict[tuple[str, str], tuple[Recipe, Split, int]] = {}  # with threads
_validation: CrossValidation
_clones: list[Clone] = []  # one, or none where processes begin anew


def ready(config: Mapping[str, Any]) -> None:
    """Be ready to begin processes at once: to be called before anything but imports has happened in this one."""
    wanted = config["folds"]["parallel"] != 1
    if not _clones and wanted and cores() > 1 and Clone.may_be_made():
        _import_all(config)
        _clones.append(Clone())


def _import_all(config: Any) -> None:
    """Import what the config names, which would otherwise be imported in each new process."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            class_of(config)
        for value in config.values():
            _import_all(value)


def work_of(validation: CrossValidation, recipe: Recipe) -> Work:
    """How this job is best worked on, on this machine."""
    if is_ddp(recipe.trainer):
        return one_by_one  # with all devices
    scheme = validation.scheme
    uses_gpu = recipe.trainer.get("accelerator") != "cpu"
    return partial(side_by_side, workers=Workers.of(scheme.parallel, scheme.k * scheme.repeats, uses_gpu))


def side_by_side(validation: CrossValidation, missing: Missing, workers: Workers) -> None:
    """Finish these folds in several processes. Models that others wait for come first: short work fills the end.

    Of five folds on two cores the fifth would leave a core idle, so it waits until all others are done and takes both.
    Where no gradient step is to be taken this process works alone, with all threads: starting others would cost more than it
    gives, and without training the numbers do not depend on threads.
    """
    trained = any(recipe.trained for recipe, _ in missing)
    threads = {split: _threads(workers, validation, split) for _, split in missing}
    if workers.processes == 1 or not trained or len(threads) < 2:
        torch.set_num_threads(max(threads.values(), default=1) if trained else cores())
        return one_by_one(validation, missing)
    folds = _by_key(missing)
    tasks = [
        Task(key, [(digest(needed.record), split.name) for needed in recipe.inputs.values()])
        for key, (recipe, split) in sorted(folds.items(), key=lambda item: (threads[item[1][1]], _depth(item[1][0])))
    ]
    progress = validation.progress
    with progress.others() as looking:
        work = (tasks, workers, _start, [validation.config, workers, looking], _finish)
        with closing(_clones[0].run(run_tasks, *work, "fork") if _clones else run_tasks(*work)) as results:
            for key, marker in results:
                recipe, split = folds[key]
                if marker is None:
                    progress.held(recipe.title, split, validation.held(recipe, split))
                else:
                    progress.finished(recipe.title, split, marker)


def _threads(workers: Workers, validation: CrossValidation, split: Split) -> int:
    return workers.threads_of(split.repeat * validation.scheme.k + split.fold)


def _depth(recipe: Recipe) -> int:
    return len(list(recipe.everyone()))


def _by_key(folds: Missing) -> dict[tuple[str, str], tuple[Recipe, Split]]:
    return {(digest(recipe.record), split.name): (recipe, split) for recipe, split in folds}


def _start(config: Mapping[str, Any], workers: Workers, looking: Path | None) -> None:
    """In a new process: the same job, in silence but for what it leaves in the folder `looking`."""
    global _validation
    with open(devnull, "w") as nowhere:
        _validation, recipe = prepare(config, Console(file=nowhere))
    _validation.progress.tell_in(looking)
    every = _by_key([(taken, split) for taken in recipe.everyone() for split in _validation.splits])
    _folds.update({key: (model, split, _threads(workers, _validation, split)) for key, (model, split) in every.items()})


def _finish(recipe: str, split: str) -> dict[str, Any] | None:
    """In that process: one model on one fold; what was noted of it, or None while another job is at it."""
    model, part, threads = _folds[recipe, split]
    use_threads(threads)
    with _validation.progress.fold(model.title, part):
        fold = _validation.finish(model, part)
    return None if fold is None else fold.marker
