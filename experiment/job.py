"""From a resolved config to a cross-validation that is ready to run: settings checked, images read, folds made."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from experiment.build import build
from experiment.console import terminal
from experiment.console.progress import Progress
from experiment.contracts import FoldData
from experiment.crossval import CrossValidation
from experiment.folds import Splits
from experiment.processes import ranks
from experiment.processes.data_parallel import check
from experiment.processes.hardware import keep_freed_memory
from experiment.recipe import Recipe, plan
from experiment.store.identity import digest
from experiment.sweeping.context import in_sweep
from experiment.tracking.trackers import NoTracker
from experiment.training import make_trainer

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
    terminal.quiet()
    keep_freed_memory()
    data, scheme = build(config["data"]), build(config["folds"])
    tracker = build(config["logger"]) if ranks.is_first() else NoTracker()
    recipe = plan(config["model"], config["trainer"], has_val=scheme.val > 0, watchers=config["callbacks"])
    check(make_trainer(config["trainer"], logger=False, enable_checkpointing=False), config)
    if not in_sweep():
        splits = scheme.split(data.load(), config["seed"])
        told.print(terminal.describe(data.samples, scheme), highlight=False)
    else:  # trials that run in one process mostly read the same images, and split them alike
        asked = digest([config["data"], config["folds"], config["seed"]])
        if asked not in _read:
            _read.clear()
            _read[asked] = data, scheme.split(data.load(), config["seed"])
        data, splits = _read[asked]
    progress = Progress(told, least=SHORT if in_sweep() else 0.0)
    return CrossValidation(data, splits, scheme, config, tracker, progress), recipe
