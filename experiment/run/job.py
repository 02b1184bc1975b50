"""From a resolved config to a cross-validation that is ready to run: settings checked, images read, folds made."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from experiment.core.build import build
from experiment.core.contracts import FoldData
from experiment.core.identity import digest
from experiment.core.job_context import in_sweep
from experiment.core.tables import SampleTable
from experiment.run.cross_validation import CrossValidation
from experiment.run.folds import FoldScheme, Splits
from experiment.run.hardware import keep_freed_memory
from experiment.run.recipe import Recipe, plan
from experiment.run.training import check_processes
from experiment.terminal.consoles import quiet
from experiment.terminal.progress import Progress

SHORT = 3.0  # seconds: in a sweep, folds that take less are not told one by one
_read: dict[str, tuple[FoldData, Splits]] = {}  # by what decides it; the last one only


def prepare(config: Mapping[str, Any], told: Console) -> tuple[CrossValidation, Recipe]:
    """What is cross-validated, and the recipe of the model.

    Args:
        config: the resolved config.
        told: where notes and progress go.

    Raises:
        UserError: settings or data that cannot be used.
    """
    quiet()
    keep_freed_memory()
    data, scheme = build(config["data"]), build(config["folds"])
    tracker = build(config["logger"])
    recipe = plan(config["model"], config["trainer"], has_val=scheme.val > 0, watchers=config["callbacks"])
    check_processes(config["trainer"], scheme.parallel)
    if not in_sweep():
        splits = scheme.split(data.load(), config["seed"])
        told.print(describe(data.samples, scheme), highlight=False)
    else:  # trials that run in one process mostly read the same images, and split them alike
        asked = digest([config["data"], config["folds"], config["seed"]])
        if asked not in _read:
            _read.clear()
            _read[asked] = data, scheme.split(data.load(), config["seed"])
        data, splits = _read[asked]
    progress = Progress(told, least=SHORT if in_sweep() else 0.0)
    return CrossValidation(data, splits, scheme, config, tracker, progress), recipe


def describe(samples: SampleTable, scheme: FoldScheme) -> str:
    """What was read and how it is split, in two lines."""
    counts = ", ".join(f"{name} {(samples.target == index).sum()}" for index, name in enumerate(samples.classes))
    groups = len(set(samples.group))
    by = f"{groups} groups" if samples.grouped else "no groups given: each image is its own, so nothing keeps patients apart"
    lines = [
        f"{len(samples.rows)} images: {counts}; positive class: {samples.positive} (data.positive); {by}",
        f"{scheme.k} folds{f' × {scheme.repeats} repeats' if scheme.repeats > 1 else ''}, "
        + ("by group" if scheme.grouped else "by image"),
    ]
    if samples.grouped and not scheme.grouped:
        lines.append("warning: groups are ignored (folds=stratified); images of one group leak into the test parts")
    return "\n".join(lines)
