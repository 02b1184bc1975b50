"""Objects from configs: the only module that turns a `_target_` into code, one class at a time, of those listed here."""

import copy
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from experiment.core.errors import UserError, not_allowed
from experiment.core.identity import kind_of
from experiment.core.signatures import check_types

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
OWN = ("datamodules.*", "lightning_modules.*", "callbacks.*", "experiment.*")
TRUSTED = (*OWN, "pytorch_lightning.Trainer", "pytorch_lightning.callbacks.*", "pytorch_lightning.loggers.*")
"""Classes that a config may name: a config file must not be able to run arbitrary code."""
HOMES = ("pytorch_lightning.trainer.trainer.Trainer",)
"""Where Python says that such a class is, if that is another name."""


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain Python values, which are hashed, stored and passed to constructors.

    Raises:
        MissingMandatoryValue: a mandatory value has not been set.
    """
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def build(config: Mapping[str, Any], expected: type[T], **further: Any) -> T:
    """Return an `expected` object: the class that `config` names, called with its other keys and `further` ones, which win.

    The arguments are plain values, of which the object gets copies; nothing inside them is built. A part that has a class
    of its own, such as each of a model's callbacks, is built by a call of its own.

    Raises:
        UserError: the class is not allowed, is not an `expected` one, refuses a value, or cannot be built; the reason in one
            line.
    """
    kind = class_of(config, expected)
    refuse_nested(config)
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    check_types(arguments, kind)
    try:
        return kind(**{**copy.deepcopy(arguments), **further})
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise _refused(config, error) from error
    except Exception as error:
        # takes seconds to import where nothing else needs it
        from lightning_fabric.utilities.exceptions import MisconfigurationException

        if isinstance(error, MisconfigurationException):
            raise _refused(config, error) from error
        raise


def refuse_nested(config: Mapping[str, Any]) -> None:
    """Refuse a `_target_` inside the settings of a class.

    Raises:
        UserError: naming its key.
    """
    for key in _nested_targets({key: value for key, value in config.items() if key != "_target_"}):
        raise UserError(f"{config['_target_']}: {key} is not allowed; nothing inside the settings of a class is built.")


def _nested_targets(value: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted key of each `_target_` at any depth."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            dotted = f"{key}.{name}" if key else str(name)
            yield from [dotted] if name == "_target_" else _nested_targets(part, dotted)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _nested_targets(part, f"{key}.{number}")


def _refused(config: Mapping[str, Any], error: Exception) -> UserError:
    return UserError(f"{config['_target_']}: {' '.join(str(error).split())}")


def class_of(config: Mapping[str, Any], expected: type[T]) -> type[T]:
    """Return the class that `_target_` names, `expected` or a subclass of it. Nothing is built.

    Raises:
        UserError: it is not among the trusted ones, does not exist, or is another kind of class. Nothing outside trusted
            packages is imported.
    """
    if not isinstance(target := config.get("_target_"), str):
        raise UserError(f"_target_={target} is not allowed; give the path of a class, such as {TRUSTED[-3]}.")
    if not _matches(target, TRUSTED):
        raise not_allowed("_target_", target, TRUSTED)
    try:
        module, _, name = target.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_={target} does not exist: {error}.") from error
    if not isinstance(kind, type) or not _matches(f"{kind.__module__}.{kind.__qualname__}", (*TRUSTED, *HOMES)):
        raise not_allowed("_target_", target, TRUSTED)
    if not issubclass(kind, expected):
        base = f"{expected.__module__}.{expected.__qualname__}"
        raise UserError(f"_target_={target} is not allowed there; name a class of {base}.")
    return kind


def relocated(config: Mapping[str, Any], expected: type[Any]) -> dict[str, Any]:
    """Return a stored config with the current path of its class: its module may have moved since.

    Raises:
        UserError: the class does not exist there, and its package has none or several of its name; or it is not an `expected`
            one.
    """
    try:
        current = class_of(config, expected)
    except UserError:
        if not isinstance(config.get("_target_"), str):
            raise
        package, name = config["_target_"].partition(".")[0], kind_of(config)
        if f"{package}.*" not in OWN:
            raise
        modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")]
        classes = {k for module in modules if isinstance(k := vars(module).get(name), type) and issubclass(k, expected)}
        if len(classes) != 1:
            raise
        current = classes.pop()
    return {**config, "_target_": f"{current.__module__}.{current.__qualname__}"}


def _matches(target: str, patterns: tuple[str, ...]) -> bool:
    return any(target.startswith(p[:-1]) if p.endswith("*") else target == p for p in patterns)
