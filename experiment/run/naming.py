"""Short names of a job's models: which of the command's settings decide the numbers of each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiment.core.identity import NOT_IDENTITY
from experiment.core.job_context import by_key
from experiment.run.recipe import Recipe

SECTIONS = ("model", "trunk", "trainer", "callbacks", "folds", "data", "seed", "experiment")  # that decide numbers
# Choices that the names of the model and of the data set say, and what decides nothing.
NOT_NAMED = ("model", "data", "trainer", "model.name", "folds.only", "folds.parallel")


def settings_of(recipe: Recipe, model: Mapping[str, Any], command: Sequence[str]) -> str:
    """Return what the command sets for this model, as short as it is unambiguous: ``C=1 trunk=resnet34``.

    A key of the section ``model`` counts for the models that its node configures, and for those that are built on them.

    Args:
        recipe: model of the job.
        model: resolved ``model`` section, whose nodes are the job's models.
        command: overrides as Hydra takes them.
    """
    modules = [one.module for one in recipe.with_inputs()]
    typed = {key.rpartition("@")[2]: value for key, value in by_key(command).items()}  # model@model.members.other=resnet
    decisive = {key: value for key, value in typed.items() if _decides(key, modules, model)}
    count = Counter(key.rpartition(".")[2] for key in decisive)
    ordered = sorted(decisive.items(), key=lambda item: not item[0].startswith("model."))
    return " ".join(f"{last if count[last := key.rpartition('.')[2]] == 1 else key}={value}" for key, value in ordered)


def _decides(key: str, modules: Sequence[Mapping[str, Any]], model: Mapping[str, Any]) -> bool:
    section, *path = key.split(".")
    if section not in SECTIONS or key in NOT_NAMED or (path and path[-1] in NOT_IDENTITY.get(section, ())):
        return False
    if section != "model":
        return True
    node: Any = model
    for step in [*path, None]:
        if isinstance(node, Mapping) and any(_is_of(node, module) for module in modules):
            return True
        node = node.get(step) if isinstance(node, Mapping) else None
    return False


def _is_of(node: Mapping[str, Any], module: Mapping[str, Any]) -> bool:
    """Return whether a node of the config is that of a model."""
    return all(name in node and node[name] == value for name, value in module.items())
