"""Folds side by side: processes that each finish one model on one fold at a time."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from experiment.run.cores import cores

GIB = 2**30
POLL = 2.0  # seconds between attempts at tasks that cannot be done yet
MEMORY = 2 * GIB  # of one process at work: PyTorch, one batch's activations, features

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """How many processes work side by side, each with how many threads.

    Threads decide the last digits of sums, and so of everything trained. They follow from the machine and the number of folds,
    not from how many folds happen to be missing: a fold run alone gives the numbers it gives among others.

    Attributes:
        processes: 1 works in the job's own process.
        threads: of each.
        gpus: device numbers to hand out, one a process; empty where all use what they find.
        even: so many folds keep all processes at work. The rest, where there is one, comes last and has all cores to itself.
        wide: threads of a process at work on one of the rest.
    """

    processes: int
    threads: int
    gpus: tuple[int, ...] = ()
    even: int = sys.maxsize
    wide: int = 0

    @classmethod
    def of(cls, parallel: int | str, folds: int, uses_gpu: bool) -> "Workers":
        """What this machine serves best, or as many processes as are asked for.

        Small batches leave cores waiting for each other: on CPUs a process a core is fastest, as far as there are folds and
        memory. Of several GPUs each takes a fold; one GPU is given to one fold at a time.
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
        """Threads for the fold with this number, counted through all repeats."""
        return self.threads if number < self.even else self.wide


def use_threads(count: int) -> None:
    """From now on, in PyTorch and in what scikit-learn and NumPy call."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
        threadpool_limits(count)


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 * GIB


@dataclass(frozen=True)
class Task:
    """One model on one fold.

    Attributes:
        key: names it, for `finish`.
        after: keys of the tasks that come first.
    """

    key: tuple[str, str]
    after: Sequence[tuple[str, str]]


def run_tasks(
    tasks: Sequence[Task],
    workers: Workers,
    start: Callable[..., None],
    arguments: Sequence[Any],
    finish: Callable[..., T | None],
    method: str = "spawn",
) -> Generator[tuple[tuple[str, str], T | None], None, None]:
    """Finish tasks in new processes, always the first for which all is there that it needs; gives each as it is finished.

    A task whose `finish` gives None cannot be done yet: that is given too, and it is tried again after the others.
    The first error ends it: tasks at work are waited for, no others are begun. Who is stopped stops them.

    Args:
        tasks: those that need others after them; what a task needs and is not among them is there already.
        workers: how many.
        start: called once in each process, with the arguments, before any task.
        arguments: plain values.
        finish: called with the two parts of a task's key.
        method: how processes begin: ``spawn``, or ``fork`` in an `clone.Clone`, where no thread has worked yet.
    """
    context = multiprocessing.get_context(method)
    gpus = context.SimpleQueue()
    for number in workers.gpus:
        gpus.put(number)
    waiting, running, done = list(tasks), dict[Future[T | None], Task](), set[tuple[str, str]]()
    put_off = list[Task]()
    known = {task.key for task in tasks}
    pool = ProcessPoolExecutor(
        workers.processes, context, initializer=_begin, initargs=(workers.threads, bool(workers.gpus), gpus, start, arguments)
    )
    others = set(multiprocessing.active_children())
    try:
        while waiting or running or put_off:
            ready = [task for task in waiting if known.isdisjoint(set(task.after) - done)]
            for task in ready[: workers.processes - len(running)]:  # the pool would keep to the order in which it gets them
                waiting.remove(task)
                running[pool.submit(_unless_stopped, finish, *task.key)] = task
            finished = wait(running, timeout=POLL if put_off else None, return_when=FIRST_COMPLETED).done
            if not finished:
                if not running:
                    time.sleep(POLL)
                waiting, put_off = [*put_off, *waiting], []
            for future in [future for future in running if future in finished]:
                task = running.pop(future)
                result = future.result()
                if result is None:
                    put_off.append(task)
                else:
                    done.add(task.key)
                yield task.key, result
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_stopped = threading.Event()


def _stop(*_: object) -> None:
    """End the task at work in an orderly way, so that leases are given back, and begin no other."""
    _stopped.set()
    sys.exit(1)


def _unless_stopped(finish: Callable[..., T], *key: str) -> T:
    """The pool hands out tasks that it has queued even to a process that was told to stop."""
    return sys.exit(1) if _stopped.is_set() else finish(*key)


def _begin(threads: int, own_gpu: bool, gpus: Any, start: Callable[..., None], arguments: Sequence[Any]) -> None:
    if own_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpus.get())
    for name in ("SIGTERM", "SIGUSR2"):  # a cluster signals all processes of a job
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    start(*arguments)
