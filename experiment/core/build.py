"""Objects from configs: the only module that turns a `_target_` into code, from the packages listed here."""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import execution_whitelist, instantiate
from omegaconf import DictConfig, OmegaConf

from experiment.core.errors import UserError, not_allowed
from experiment.core.identity import kind_of
from experiment.core.signatures import check_types

ROOT = Path(__file__).resolve().parents[2]
OWN = ("datamodules.*", "lightning_modules.*", "callbacks.*", "experiment.*")
TRUSTED = (*OWN, "pytorch_lightning.*")
"""Packages whose classes a config may name: a config file must not be able to run arbitrary code."""


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain Python values, which are hashed, stored and passed to constructors.

    Raises:
        MissingMandatoryValue: a mandatory value has not been set.
    """
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def build(config: Mapping[str, Any], **further: Any) -> Any:
    """Instantiate `config`; pass `further` arguments as they are.

    Raises:
        UserError: the class refuses a value, or cannot be built; the reason in one line.
    """
    try:
        with execution_whitelist(TRUSTED):
            check_types(config, class_of(config))
            return instantiate(config, **further, _convert_="all")
    except UserError:
        raise
    except (InstantiationException, TypeError, ValueError) as error:
        raise _refused(config, error) from error
    except Exception as error:
        # takes seconds to import where nothing else needs it
        from lightning_fabric.utilities.exceptions import MisconfigurationException

        if isinstance(error, MisconfigurationException):
            raise _refused(config, error) from error
        raise


def _refused(config: Mapping[str, Any], error: Exception) -> UserError:
    return UserError(f"{config.get('_target_')}: {' '.join(str(error.__cause__ or error).split())}")


def class_of(config: Mapping[str, Any]) -> type[Any]:
    """Return the class that `_target_` names.

    Raises:
        UserError: it is not in a trusted package, or does not exist. Nothing outside trusted packages is imported.
    """
    target = str(config["_target_"])
    if not _trusted(target):
        raise not_allowed("_target_", target, TRUSTED)
    try:
        module, _, name = target.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_={target} does not exist: {error}.") from error
    if not isinstance(kind, type) or not _trusted(f"{kind.__module__}.{kind.__qualname__}"):
        raise not_allowed("_target_", target, TRUSTED)
    return kind


def relocated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored config with the current path of its class: its module may have moved since.

    Raises:
        UserError: the class does not exist there, and its package has none or several of its name.
    """
    try:
        current = class_of(config)
    except UserError:
        package, name = config["_target_"].partition(".")[0], kind_of(config)
        if f"{package}.*" not in OWN:
            raise
        modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")]
        classes = {kind for module in modules if isinstance(kind := vars(module).get(name), type)}
        if len(classes) != 1:
            raise
        current = classes.pop()
    return {**config, "_target_": f"{current.__module__}.{current.__qualname__}"}


def _trusted(target: str) -> bool:
    return any(target.startswith(pattern.removesuffix("*")) for pattern in TRUSTED)
