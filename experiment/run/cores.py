"""Processor cores: how many this job may use (a cluster, a container or a launcher may give it fewer than the machine has)."""

import os

GRANTED = "EM_GRANULES_CORES"  # cores that a launcher gives each of its jobs, where nothing else restricts the job


def sleep_while_waiting() -> None:
    """Let threads that wait for work sleep, which leaves the cores to other jobs and to this process's other libraries.

    NumPy, SciPy and PyTorch each bring threads, which by default spin for some milliseconds. Call it before any of them is
    imported; child processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the least: 2⁴ cycles


def cores() -> int:
    """Return the smallest of what affinity, a container's quota, Slurm and the launcher allow, at least 1."""
    from joblib import cpu_count  # imports NumPy, which has to wait for `sleep_while_waiting`

    # Without task plugins Slurm does not set the affinity. Outside a job its variables are some shell's leftovers.
    names = [GRANTED, *(["SLURM_CPUS_PER_TASK"] if "SLURM_JOB_ID" in os.environ else [])]
    granted = [int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()]
    available: int = min([cpu_count(), *granted])
    return max(1, available)
