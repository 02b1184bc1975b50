"""Process that workers are forked from: it has imported their modules, and has never run a second thread."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver, resource_tracker
from typing import Any

from experiment.core.build import OWN, build
from experiment.run import with_parent

if sys.platform == "linux":
    CONTEXT = multiprocessing.get_context("forkserver")
else:  # system libraries do not survive a fork
    CONTEXT = multiprocessing.get_context("spawn")


def preload(config: Mapping[str, Any]) -> None:
    """Start that process, which imports the engine and the classes of the config while this process does the same."""
    from experiment.core.folds import FoldScheme  # takes NumPy and pandas, which no `--help` needs

    # settings of folds are checked before anything heavy is imported
    several = build(config["folds"], FoldScheme).parallel != 1
    if not several or sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return
    own = tuple(pattern.removesuffix("*") for pattern in OWN)
    named = {target.rpartition(".")[0] for target in _targets(config) if target.startswith(own)}
    CONTEXT.set_forkserver_preload([with_parent.__name__, "experiment.run.parallel", *sorted(named)])
    os.environ[with_parent.PARENT] = str(os.getpid())
    resource_tracker.ensure_running()  # the server starts it where it is not there, and unblocks signals
    # inherited: on Ctrl-C this process ends the workers
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        del os.environ[with_parent.PARENT]


def _targets(config: Any) -> Iterator[str]:
    for value in config.values() if isinstance(config, Mapping) else config:
        if isinstance(value, Mapping | list):
            yield from _targets(value)
    if isinstance(config, Mapping) and "_target_" in config:
        yield str(config["_target_"])
