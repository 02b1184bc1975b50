"""Processor cores: how many this job may use (a cluster, a container or a launcher may give it fewer than the machine has)."""

import os
from pathlib import Path

GRANTED = "EM_GRANULES_CORES"  # what a launcher gives each of its jobs, where nothing else keeps a job to it
CGROUP = Path("/sys/fs/cgroup")


def sleep_while_waiting() -> None:
    """Threads that wait for work leave the cores to others: to jobs beside this one, and to the libraries in this process.

    NumPy, SciPy and PyTorch each bring threads, which by default wait by going in circles for some milliseconds. It must come
    before any of them is imported; processes that this one starts inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the least: 2⁴ cycles


def cores() -> int:
    """At least 1: the smallest of what affinity, a container's quota, Slurm and the launcher allow."""
    allowed = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    if quota := _quota():
        allowed.append(quota)
    # Without task plugins Slurm does not set the affinity. Outside a job its variables are some shell's leftovers.
    names = [GRANTED, *(["SLURM_CPUS_PER_TASK"] if "SLURM_JOB_ID" in os.environ else [])]
    allowed += [int(given) for name in names if (given := os.environ.get(name, "")).isdigit()]
    return max(1, min(allowed))


def _quota() -> int | None:
    """Cores' worth of time that this process's control groups allow, rounded up; None without a limit."""
    try:
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):  # not Linux, or the older kind of control groups
        return None
    folder = CGROUP / own.removeprefix("0::").strip("/")
    limits = []
    for group in (folder, *folder.parents):
        if not group.is_relative_to(CGROUP):
            break
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):  # the topmost group has no limit
            continue
        if quota != "max":
            limits.append(-(-int(quota) // int(period)))
    return min(limits, default=None)
