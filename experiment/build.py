"""Objects from configs. The only place that turns a `_target_` into code, from packages that are listed here."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import execution_whitelist, get_class, instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from experiment.errors import UserError

TRUSTED = ("datamodules.*", "lightning_modules.*", "callbacks.*", "experiment.*", "pytorch_lightning.*")
"""Packages whose classes a config may name: a config file must not be able to run arbitrary code."""


def build(config: Mapping[str, Any], **further: Any) -> Any:
    """Instantiate `config`; `further` arguments are passed as they are.

    Raises:
        UserError: what the class says of a bad value, or in one line why it could not be built.
    """
    try:
        with execution_whitelist(TRUSTED):
            return instantiate(config, **further, _convert_="all")
    except (InstantiationException, TypeError, ValueError, MisconfigurationException) as error:
        reason = error.__cause__ or error
        raise UserError(f"{config.get('_target_')}: {' '.join(str(reason).split())}") from error


def class_of(config: Mapping[str, Any]) -> type[Any]:
    """The class named by `_target_`."""
    with execution_whitelist(TRUSTED):
        return get_class(config["_target_"])


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain python values, which is what is hashed, stored and handed to constructors."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
