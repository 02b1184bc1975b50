"""Starting the processes that work on one fold together, and connecting them.

torchrun and srun start all of them at once. Where nobody did, the first starts the others when it knows that there is
work: they run the same command and come to the same place.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiment.core import ranks
from experiment.core.errors import UserError

LOCAL = "127.0.0.1"
FIRST = "EM_GRANULES_FIRST"  # environment of the others: process id of the first, which started them
LOOK = 2.0  # seconds between looks whether it is there


def meet(trainer: Mapping[str, Any], work: bool) -> None:
    """Connect the processes of this job, if it asks for several; without work to do nobody is started.

    Args:
        trainer: arguments of the job's Trainer.
        work: whether this process, as the first, has found any.

    Raises:
        UserError: there are not as many processes as asked for.
    """
    if not ranks.wanted(trainer) or not (work or ranks.started_together()):
        return
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    options = {key: trainer[key] for key in ("accelerator", "devices", "num_nodes") if key in trainer}
    # Slurm's one task is not one of several: there the first starts the others (see `experiment.run.training.make_trainer`).
    plugins = LightningEnvironment() if os.environ.get("SLURM_NTASKS") == "1" else None
    fabric = Fabric(**options, strategy="ddp", plugins=plugins)
    if not ranks.started_together():
        _start_others(fabric.world_size)
    try:
        fabric.launch()  # starts none: LOCAL_RANK is set; it chooses devices, threads, and gloo or nccl
    except ValueError as error:  # of a scheduler's settings
        raise UserError(f"trainer.devices and trainer.num_nodes: {' '.join(str(error).split())}") from error
    ranks.met()


def follow() -> None:
    """In a process that the first has started: it ends with the first, and is not stopped from the keyboard on its own."""
    first = os.environ.get(FIRST)
    if first is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(int(first),), daemon=True).start()


def _end_with(first: int) -> None:
    while os.getppid() == first:
        time.sleep(LOOK)
    os._exit(1)  # the first was killed: nothing that waits for it would ever end


def _start_others(size: int) -> None:
    """The other processes of this machine, which end with this one."""
    with socket.socket() as free:
        free.bind((LOCAL, 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR=LOCAL, MASTER_PORT=str(port), WORLD_SIZE=str(size), NODE_RANK="0", LOCAL_RANK="0")
    command = [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    others = [
        subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(rank), FIRST: str(os.getpid())})
        for rank in range(1, size)
    ]
    over = threading.Event()
    atexit.register(_stop, others, over)
    for other in others:
        threading.Thread(target=_watch, args=(other, others, over), daemon=True).start()


def _stop(others: Sequence[subprocess.Popen[bytes]], over: threading.Event) -> None:
    """Whatever ended this process: the others may hang in a collective and would never know."""
    over.set()
    for other in others:
        if other.poll() is None:
            other.kill()


def _watch(other: subprocess.Popen[bytes], others: Sequence[subprocess.Popen[bytes]], over: threading.Event) -> None:
    """One that fails takes all with it: the first may hang in a collective."""
    code = other.wait()
    if code and not over.is_set():
        _stop(others, over)
        print(f"error: a process of this job ended with code {code}; what it said stands above.", file=sys.stderr, flush=True)
        os._exit(1)
