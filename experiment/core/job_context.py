"""Context of a job: whether it is a trial of a sweep, and the settings of the trial."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

AGENT = "WANDB_SWEEP_ID"  # set by `wandb agent` for each trial


def in_sweep() -> bool:
    """Return whether this job is a trial of Hydra's multirun or of a W&B agent."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return bool(multirun or os.environ.get(AGENT))


def trial_settings(config: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the overrides of this trial by key; None if the job is no trial, or runs only some folds of one."""
    if not in_sweep() or config["folds"]["only"] is not None:
        return None
    from hydra.core.hydra_config import HydraConfig

    return by_key(HydraConfig.get().overrides.task)


def by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Return the values of overrides by key."""
    return dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)


def command_settings() -> list[str]:
    """Return the overrides of this job as they were typed, or as a sweep chose them."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def job_number() -> int | None:
    """Return the number of this job in its multirun, from 0; None outside of one."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return int(HydraConfig.get().job.num)
