"""Number of worker processes for a machine, and their threads and GPUs."""

import os
import sys
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from experiment.run.cores import cores

GIB = 2**30
MEMORY = 2 * GIB  # of one process at work: PyTorch, one batch's activations, features


@dataclass(frozen=True)
class Workers:
    """Processes that work at the same time, and their threads.

    Threads decide the last digits of sums, and so of everything trained. They follow from the machine and the number of folds,
    not from the number of missing ones: a fold has the same numbers alone and among others.
    """

    processes: int  # 1 works in the job's own process
    threads: int  # of each
    # a device number for each process, counted among the job's; empty where all processes use the job's devices
    gpus: tuple[int, ...] = ()
    # the number of folds that keep all processes at work. Folds left over come last and share all cores.
    even: int = sys.maxsize
    wide: int = 0  # threads of a process at work on a fold left over

    @classmethod
    def of(cls, parallel: int | str, folds: int, uses_gpu: bool) -> "Workers":
        """Choose what is fastest on this machine, or as many processes as `parallel` says.

        Small batches leave cores waiting for each other: on CPUs a process per core is fastest, as far as there are folds and
        memory. Of several GPUs each takes a fold; a single GPU takes one fold at a time.
        """
        available = cores()
        gpus = torch.cuda.device_count() if uses_gpu else 0
        if parallel != "auto":
            processes = int(parallel)
        elif gpus:
            processes = min(gpus, folds)
        else:
            processes = max(1, min(available, folds, _memory() // MEMORY))
        threads = max(1, available // processes)
        if gpus > 1 and processes > 1:
            return cls(processes, threads, tuple(n % gpus for n in range(processes)))
        rest = folds % processes
        if gpus or folds < processes or not rest or available // rest <= threads:
            return cls(processes, threads)
        return cls(processes, threads, even=folds - rest, wide=available // rest)

    def threads_of(self, number: int) -> int:
        """Return the threads for the fold with this number, counted through all repeats."""
        return self.threads if number < self.even else self.wide


def use_threads(count: int) -> None:
    """Set the number of threads of PyTorch and of the libraries that scikit-learn and NumPy call."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
        threadpool_limits(count)


def visible_device(number: int, visible: str | None) -> str:
    """Return a worker's CUDA_VISIBLE_DEVICES: the entry `number` of the job's (numbers or UUIDs), if that is set."""
    return visible.split(",")[number].strip() if visible else str(number)


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 * GIB
