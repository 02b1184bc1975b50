"""Objects from configs. The only place that turns a `_target_` into code, from packages that are listed here."""

import importlib
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import execution_whitelist, instantiate

from experiment.errors import UserError, not_allowed
from experiment.signatures import check_types

TRUSTED = ("datamodules.*", "lightning_modules.*", "callbacks.*", "experiment.*", "pytorch_lightning.*")
"""Packages whose classes a config may name: a config file must not be able to run arbitrary code."""


def build(config: Mapping[str, Any], **further: Any) -> Any:
    """Instantiate `config`; `further` arguments are passed as they are.

    Raises:
        UserError: what the class says of a bad value, or in one line why it could not be built.
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
    """The class named by `_target_`.

    Raises:
        UserError: it is not in a trusted package, or not there. Nothing outside those packages is imported.
    """
    target = str(config["_target_"])
    if not _trusted(target):
        raise not_allowed("_target_", target, TRUSTED)
    try:
        module, _, name = target.rpartition(".")
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_={target} is not there: {error}.") from error
    if not isinstance(found, type) or not _trusted(f"{found.__module__}.{found.__qualname__}"):
        raise not_allowed("_target_", target, TRUSTED)
    return found


def _trusted(target: str) -> bool:
    return any(target.startswith(pattern.removesuffix("*")) for pattern in TRUSTED)
