"""From a resolved config to a cross-validation that is ready to run: settings checked, images read, folds made."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from experiment.core.build import build, class_of
from experiment.core.contracts import FoldData
from experiment.core.errors import UserError, not_allowed
from experiment.core.folds import FoldScheme, Splits
from experiment.core.job_context import command_settings, in_sweep
from experiment.core.names import folder
from experiment.core.tables import LARGE_SHARE, SampleTable, largest_group
from experiment.metrics.objective import objectives
from experiment.run.cross_validation import CrossValidation
from experiment.run.hardware import keep_freed_memory
from experiment.run.recipe import Recipe, check, plan
from experiment.terminal.consoles import quiet
from experiment.terminal.progress import Progress
from experiment.tracking.configured import trackers

REUSE = ("same_code", "always", "never")  # of finished folds
SECTIONS = (
    "data", "folds", "trunk", "trainer", "callbacks", "model", "logger", "sweep", "recommended", "paths",
    "seed", "objective", "reuse", "keep_epoch_s",
)  # fmt: skip
OPTIONAL = ("built_in_images", "listing")
SHORT = 60.0  # seconds: in a sweep, folds that take less have no line


def prepare(config: Mapping[str, Any], console: Console) -> tuple[CrossValidation, Recipe]:
    """Check all settings, read the images and split them; return the cross-validation, and the recipe of the model.

    Raises:
        UserError: settings or data that cannot be used.
    """
    quiet()
    _check_keys(config)
    for key, setting in class_of(config["data"], FoldData).own_fold.items():
        if key in config["data"]:
            raise UserError(f"data.{key} chooses a fold in plain Lightning; in a command take {setting}.")
    if config["reuse"] not in REUSE:
        raise not_allowed("reuse", config["reuse"], REUSE)
    objectives(config["objective"])  # names are checked
    folder("paths.runs", config["paths"]["runs"])
    scheme = build(config["folds"], FoldScheme)
    recipe = plan(config["model"], config["trainer"], config["callbacks"], has_val=scheme.val > 0)
    check(recipe, config, scheme)
    config = {**config, "command": command_settings()}
    validation = loaded(config, Progress(console, least=SHORT if in_sweep() else 0.0))
    if not in_sweep():
        console.print(describe(validation.data.samples, validation.scheme, validation.data.notes), highlight=False)
    return validation, recipe


def _check_keys(config: Mapping[str, Any]) -> None:
    """Refuse unknown keys at the top level, which `+key=` adds and nothing would read, and missing ones."""
    for key in config:
        if key not in (*SECTIONS, *OPTIONAL):
            raise UserError(f"there is no setting {key}, so +{key}= would do nothing; allowed: {', '.join(SECTIONS)}.")
    for key in SECTIONS:
        if key not in config:
            raise UserError(f"the command leaves no {key}, which a job needs; leave out ~{key} or {key}=null.")


def loaded(config: Mapping[str, Any], progress: Progress, splits: Splits | None = None) -> CrossValidation:
    """Build the parts of a checked config and read the images; in a worker the `splits` are those of the first process."""
    quiet()
    keep_freed_memory()
    data, scheme = build(config["data"], FoldData), build(config["folds"], FoldScheme)
    tracking = trackers(config["logger"])
    samples = data.load()
    return CrossValidation(data, splits or scheme.split(samples, config["seed"]), scheme, config, tracking, progress)


def describe(samples: SampleTable, scheme: FoldScheme, notes: Sequence[str] = ()) -> str:
    """Say what was read and how it is split, in two lines, and in further ones what to look at."""
    counts = ", ".join(f"{name} {(samples.target == index).sum()}" for index, name in enumerate(samples.classes))
    groups = len(set(samples.group))
    by = f"{groups} groups" if samples.grouped else "no groups"
    lines = [
        f"{len(samples.rows)} images: {counts}; positive class: {samples.positive} (data.positive); {by}",
        f"{scheme.k} folds{f' × {scheme.repeats} repeats' if scheme.repeats > 1 else ''}, "
        + ("by group" if scheme.grouped and samples.grouped else "by image"),
    ]
    if samples.grouped and not scheme.grouped:
        lines.append("warning: groups are ignored (folds=stratified); images of one group leak into the test parts")
    if not samples.grouped:
        lines.append("warning: no groups given: each image is its own, so nothing keeps patients apart")
    name, share = largest_group(samples.group)
    if samples.grouped and share > LARGE_SHARE:
        lines.append(f"warning: group {name} has {share:.0%} of the images; the score is mostly about that one")
    return "\n".join([*lines, *(f"warning: {note}" for note in notes)])
