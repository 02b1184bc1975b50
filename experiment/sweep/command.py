"""Command of a sweep: what it varies, over how many trials. Its jobs, in whatever process, read that from the environment."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from omegaconf import DictConfig

VARIABLE = "EM_GRANULES_SWEEP"


@dataclass(frozen=True)
class SweepCommand:
    """Command of a multirun."""

    text: str = ""  # as typed; empty for a trial of another sweeper, such as an agent of W&B
    keys: Sequence[str] = ()  # settings that it varies
    trials: int | None = None  # how many; None where only the sweeper knows

    @classmethod
    def of(cls, config: DictConfig) -> "SweepCommand":
        """Read the command of a multirun from Hydra's config, in which the sweeper has not taken it apart yet."""
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser

        typed = list(config.hydra.overrides.task)
        space = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        overrides = {str(one.get_key_element()).lstrip("+"): one for one in parser.parse_overrides([*space, *typed])}
        swept: dict[str, Any] = {key: one for key, one in overrides.items() if one.is_sweep_override()}
        if "n_trials" in config.hydra.sweeper:
            trials = config.hydra.sweeper.n_trials
        else:
            discrete = all(one.is_discrete_sweep() for one in swept.values())
            trials = prod(len(list(one.sweep_string_iterator())) for one in swept.values()) if discrete else None
        own = [one for one in config.hydra.overrides.hydra if not one.startswith("hydra.mode=")]
        return cls(f"python train.py -m {shlex.join([*typed, *own])}", tuple(swept), trials)

    @classmethod
    def current(cls) -> "SweepCommand":
        """Return the command that this job is a trial of."""
        return cls(**json.loads(os.environ.get(VARIABLE, "{}")))

    def pass_on(self) -> None:
        """Pass the command on to the jobs, through the environment of this process."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @staticmethod
    def forget() -> None:
        """End what `pass_on` began."""
        os.environ.pop(VARIABLE, None)
