"""The resolved config as plain python values, which is what is hashed, stored and handed to constructors."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def plain(config: DictConfig) -> dict[str, Any]:
    """Mappings, lists, text, numbers. A mandatory value that is not given is an error of OmegaConf's."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
