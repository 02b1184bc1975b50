"""Processes: a name across machines, whether one still runs, and ending with the process that started this one."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

GRACE = 1.5  # seconds between SIGTERM and SIGKILL
CLUSTER_JOBS = ("SLURM_JOB_ID", "RAY_JOB_ID")  # environment variables with the cluster's job id


def job_id() -> str | None:
    """Return the cluster's name for this job: ``17``, or ``17_3`` in an array; None outside a cluster."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return next((os.environ[name] for name in CLUSTER_JOBS if name in os.environ), None)


def machine() -> str | None:
    """Return a name shared by the processes that see each other's ids: host, boot, and process table (of a container)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux: its leases expire by age alone
        return None


def is_running(pid: int, start: str | None) -> bool:
    """Return whether the process with this id and this start runs: not ended, and its id not given to another one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    current = started(pid)
    return current is None or current == start


def started(pid: int) -> str | None:
    """Return when a process was started, in ticks since the machine's start; None if that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
    except OSError:
        return None
    return "dead" if fields[0] in "ZX" else fields[19]


def end_with_parent(number: int = 0) -> None:
    """Let this process of multiprocessing end with the one that started it, even if that is killed: within `GRACE` seconds.

    Args:
        number: of a data loader's worker, which passes it.
    """
    threading.Thread(target=_end_with_parent, daemon=True, name="end with parent").start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is None:
        return
    parent.join()  # a pipe that the kernel closes, on every platform
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
