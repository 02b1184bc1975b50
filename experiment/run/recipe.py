"""What to cross-validate: a model, how it is trained, the models it is built on, and the identity of all that."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback

from experiment.core.build import build, class_of, refuse_nested
from experiment.core.code import Code, code_digest, code_of
from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError, not_allowed
from experiment.core.folds import FoldScheme
from experiment.core.identity import OBSERVERS, Record, decisive, digest, kind_of
from experiment.core.names import folder_name
from experiment.run.training import check_devices, check_parallel, is_ddp, make_callbacks, make_trainer
from experiment.store.runs import Run

# What the engine reads in a model's config; everything else goes to the constructor of its class.
ENGINE_KEYS = ("name", "callbacks", "trainer")


@dataclass(frozen=True)
class Recipe:
    """One model to cross-validate."""

    name: str  # first part of its run folder's name
    title: str  # its name in tables; inside an ensemble the member's name
    module: Mapping[str, Any]  # config of the `FoldModel`: its `_target_` and constructor arguments
    trainer: Mapping[str, Any]  # arguments of the Lightning Trainer
    callbacks: Mapping[str, Mapping[str, Any]]  # configs of the callbacks that take part in fitting, by name
    record: Record  # all settings that decide its numbers, but for data, folds and seed
    code: Code  # the code that decides its numbers, but for the data module's
    inputs: Mapping[str, "Recipe"] = field(default_factory=dict)  # recipes of the models it is built on
    finished: Path | None = None  # folder of a finished run that is used; nothing of it is trained

    def with_inputs(self) -> Iterator["Recipe"]:
        """Yield the models this one is built on, deepest first and each identity once, then itself."""
        seen = set()
        for recipe in [*(r for i in self.inputs.values() for r in i.with_inputs()), self]:
            if recipe.identity not in seen:
                seen.add(recipe.identity)
                yield recipe

    @property
    def identity(self) -> str:
        """Return the digest of settings and code."""
        return digest([self.record, code_digest(self.code)])

    @property
    def trained(self) -> bool:
        """Return whether gradient steps are taken: not for a model that learns from tables, and not without epochs."""
        return bool(self.trainer.get("max_epochs")) and not hasattr(class_of(self.module, FoldModel), "fit_tables")

    @property
    def epochs(self) -> int:
        """The most epochs that a fold takes; 1 for a model that is not trained, or that trains without a limit."""
        return max(1, self.trainer["max_epochs"]) if self.trained else 1

    def model(self, classes: tuple[str, ...]) -> FoldModel:
        """Return a new, unfitted model."""
        inputs = {"inputs": list(self.inputs)} if self.inputs else {}
        return build(self.module, FoldModel, classes=list(classes), **inputs)


def plan(
    model: Mapping[str, Any],
    trainer: Mapping[str, Any],
    watchers: Mapping[str, Mapping[str, Any]],
    has_val: bool,
    title: str = "",
) -> Recipe:
    """Return the recipe of the resolved ``model`` section.

    Args:
        model: the section; its ``trainer`` keys override those of the ``trainer`` section.
        trainer: the ``trainer`` section.
        watchers: the ``callbacks`` section; those that do more than look on count where a model is trained.
        has_val: whether folds have val rows.
        title: name in tables; default is that of the model.

    Raises:
        UserError: an unknown key or value, or a file that cannot be used.
    """
    if set(model) == {"run"}:
        return _finished(Path(model["run"]), title)
    kind = class_of(model, FoldModel)
    module = {key: value for key, value in model.items() if key not in (*ENGINE_KEYS, *kind.built_on)}
    refuse_nested(module)
    if not has_val and (reason := kind.needs_val(model)):
        raise UserError(f"folds.val=0 leaves no val rows, but {reason}.")
    members = kind.inputs(model)
    # Several members of one name, such as two SVMs, and finished runs go by their keys.
    titles = {key: str(config.get("name", key)) for key, config in members.items()}
    names = Counter(titles.values())
    inputs = {
        key: plan(config, trainer, watchers, has_val, title=titles[key] if names[titles[key]] == 1 else key)
        for key, config in members.items()
    }
    own_trainer = {**trainer, **model.get("trainer", {})}
    unknown = set(model.get("trainer", {})) - set(trainer)
    if unknown:
        raise not_allowed("model.trainer key ", sorted(unknown)[0], trainer)
    callbacks = model.get("callbacks", {})
    files = kind.files(model)
    trained = bool(own_trainer.get("max_epochs"))
    deciding = {name: c for name, c in watchers.items() if kind_of(c) not in OBSERVERS} if trained else {}
    deciding = {**deciding, **callbacks}
    record: dict[str, Any] = {
        "model": _without(decisive("model", module), files),
        "files": files,
        # A model that takes no gradient step has no use for the trainer's settings, but its features have a precision.
        "trainer": decisive("trainer", own_trainer if trained else {"precision": own_trainer["precision"]}),
        "callbacks": {name: decisive("callback", callback) for name, callback in deciding.items()},
        "inputs": {name: digest(recipe.record) for name, recipe in inputs.items()},
    }
    if is_ddp(own_trainer) and trained:  # each process has batches of its own
        record["processes"] = make_trainer(own_trainer, logger=False, enable_checkpointing=False).num_devices
    code = dict(code_of([kind, *(class_of(callback, Callback) for callback in deciding.values())]))
    for recipe in inputs.values():
        code |= recipe.code
    name = folder_name("model.name", model.get("name"))
    return Recipe(name, title or name, module, own_trainer, callbacks, record, code, inputs)


def check(recipe: Recipe, config: Mapping[str, Any], scheme: FoldScheme) -> None:
    """Build each trainer, callback and model of a job once, so that wrong settings are found before any work.

    Raises:
        UserError: naming the setting.
    """
    recipes = [one for one in recipe.with_inputs() if one.finished is None]
    check_parallel(config["trainer"], scheme.parallel)
    for trainer in {digest(trainer): trainer for trainer in [config["trainer"], *(one.trainer for one in recipes)]}.values():
        check_devices(trainer)
    make_callbacks(config["callbacks"], scheme.val > 0)
    for one in recipes:
        make_callbacks(one.callbacks, scheme.val > 0)
        with torch.device("meta"):  # finds wrong settings without the memory or the weights; any classes do
            one.model(("absent", "present"))


def _without(config: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return a config without these dotted keys: files count by their content, not by their place."""
    remaining = dict(config)
    for key in keys:
        section, _, rest = key.partition(".")
        remaining[section] = {name: value for name, value in remaining[section].items() if name != rest}
    return remaining


def _finished(path: Path, title: str) -> Recipe:
    """Return the recipe of a finished run. Its folder's name carries the digest of all that decided its numbers."""
    run = Run.load(path)
    module = {key: value for key, value in run.config["model"].items() if key not in ENGINE_KEYS}
    return Recipe(run.title, title or run.title, module, {}, {}, {"run": run.path.name}, {}, finished=run.path)
