"""The first thing a job does: it finds its place among others, on this machine, in a cluster, or in a sweep."""

from collections.abc import Mapping
from typing import Any

from experiment.core import ranks
from experiment.core.job_context import in_sweep
from experiment.run.cluster import enter_job
from experiment.run.launching import follow
from experiment.terminal.consoles import mute


def enter(config: Mapping[str, Any]) -> None:
    """Take this process's place: its folder and cores if a launcher sent it, silence if it only helps another.

    Args:
        config: the resolved config.

    Raises:
        UserError: there is no such place.
    """
    enter_job()
    ranks.enter(config["trainer"], in_sweep())
    if not ranks.is_first():
        mute()
        follow()
