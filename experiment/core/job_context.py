"""Whether a job is a trial of a sweep, and what was set for it."""

import os
from collections.abc import Mapping
from typing import Any

AGENT = "WANDB_SWEEP_ID"  # set by `wandb agent` for each trial


def in_sweep() -> bool:
    """Whether this job is one of several that are compared: by Hydra's multirun, or by an agent of W&B."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return bool(multirun or os.environ.get(AGENT))


def trial_settings(config: Mapping[str, Any]) -> dict[str, str] | None:
    """What the command set for this trial, by key; None for a job that is no trial, or that runs some folds of one."""
    if not in_sweep() or config["folds"]["only"] is not None:
        return None
    from hydra.core.hydra_config import HydraConfig

    return dict(override.lstrip("+").split("=", 1) for override in HydraConfig.get().overrides.task if "=" in override)
