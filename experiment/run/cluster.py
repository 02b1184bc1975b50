"""Prepare a job that a launcher of a multirun may have started on another machine: folder, code and share of cores."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.core.errors import UserError
from experiment.run.cores import GRANTED, cores


def share_code(root: Path) -> None:
    """Let processes that a launcher starts import this project's code, installed or not: they inherit the environment."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(root) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *paths])


def enter_job() -> None:
    """Change to the folder of the command, where its relative paths are valid, and note the launcher's share of cores.

    Raises:
        UserError: this machine does not see the folder of the command.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return
    job = HydraConfig.get()
    if os.path.realpath(job.runtime.cwd) != os.getcwd():
        try:
            os.chdir(job.runtime.cwd)
        except OSError as error:
            raise UserError(
                f"the job was sent from {job.runtime.cwd}, which this machine does not see ({error.strerror}); type the "
                "command in a folder that all machines of the cluster share."
            ) from error
    # A process that does one job after the other shares once.
    if not os.environ.get(GRANTED) and (share := granted(job.launcher)) is not None:
        os.environ[GRANTED] = str(share)


def granted(launcher: Mapping[str, Any]) -> int | None:
    """Return how many cores a launcher (its config, ``hydra/launcher``) gives each job; None if it does not restrict them."""
    if (jobs := launcher.get("n_jobs")) is not None:  # joblib: -1 is one a core, -2 one less
        available = cores()
        return max(1, available // max(1, int(jobs) if jobs > 0 else available + 1 + int(jobs)))
    share = launcher["ray"]["remote"].get("num_cpus") if "ray" in launcher else launcher.get("cpus_per_task")
    return None if share is None else max(1, int(share))
