"""From a resolved config to a cross-validation that is ready to run: settings checked, images read, folds made."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from experiment import terminal
from experiment.build import build
from experiment.crossval import CrossValidation
from experiment.hardware import keep_freed_memory
from experiment.progress import Progress
from experiment.recipe import Recipe, plan


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
    data, scheme, tracker = build(config["data"]), build(config["folds"]), build(config["logger"])
    recipe = plan(config["model"], config["trainer"], has_val=scheme.val > 0, watchers=config["callbacks"])
    samples = data.load()
    splits = scheme.split(samples, config["seed"])
    told.print(terminal.describe(samples, scheme), highlight=False)
    return CrossValidation(data, splits, scheme, config, tracker, Progress(told)), recipe
