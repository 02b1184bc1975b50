"""Tasks in worker processes: the first process sends each worker one key at a time over a pipe, and reads its messages."""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from experiment.core.errors import UserError, one_line
from experiment.run.forkserver import CONTEXT
from experiment.run.workers import Workers, use_threads, visible_device
from experiment.store.processes import end_with_parent

POLL = 2.0  # seconds between attempts at tasks that another job works on
PATIENCE = 10.0  # seconds until a worker without a task has ended
GRACE = 2.0  # seconds for stopped workers to give back their leases

Key = tuple[str, str]
Finish = Callable[[str, str], Any]
Message = tuple[Literal["report", "finished", "failed"], Any]


@dataclass(frozen=True)
class Task:
    """One model on one fold."""

    key: Key  # names it, for the workers
    after: Sequence[Key]  # keys of the tasks that come first


def run_tasks(
    tasks: Sequence[Task],
    workers: Workers,
    start: Callable[..., Finish],
    arguments: Sequence[Any],
    report: Callable[..., None],
) -> Generator[tuple[Key, Any], None, None]:
    """Finish tasks in new processes, always the first whose inputs are finished; yield each result.

    A task with the result None is worked on by another job: it is yielded too, and tried again after the others. After the
    first error no task is begun, running ones are finished, and the error is raised. Stopping this process stops the workers.

    Args:
        tasks: to be finished; inputs that are not among them are finished already.
        workers: number of processes.
        start: called once in each process with `arguments` and a function that passes its arguments on to `report`; returns
            the function that finishes the task with a key.
        arguments: plain values.
        report: called in this process.
    """
    waiting, put_off, done = list(tasks), list[Task](), set[Key]()
    keys = {task.key for task in tasks}
    failed: Exception | None = None
    with _started(workers, start, arguments) as pool:
        while waiting or put_off or any(worker.task for worker in pool):
            ready = [task for task in waiting if keys.isdisjoint(set(task.after) - done)]
            for worker, task in zip([worker for worker in pool if not worker.task], ready, strict=False):
                waiting.remove(task)
                worker.give(task)
            working = [worker for worker in pool if worker.task]
            watched = [end for worker in working for end in (worker.pipe, worker.process.sentinel)]
            if not wait(watched, POLL if put_off else None):
                waiting, put_off = [*put_off, *waiting], []
            for worker in working:
                while worker.task and (message := worker.message()):
                    kind, value = message
                    if kind == "report":
                        report(*value)
                        continue
                    task, worker.task = worker.task, None
                    if kind == "failed":
                        pool.remove(worker)
                        failed = failed or value
                    elif value is None:
                        put_off.append(task)
                        yield task.key, None
                    else:
                        done.add(task.key)
                        yield task.key, value
            if failed:
                waiting, put_off = [], []
    if failed:
        raise failed


class _Worker:
    """A worker, seen from the first process."""

    def __init__(self, threads: int, device: str | None, start: Callable[..., Finish], arguments: Sequence[Any]) -> None:
        self.task: Task | None = None
        self.pipe, its_end = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(its_end, threads, device, start, arguments))
        self.process.start()
        its_end.close()

    def give(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # a worker that has ended is noticed when it is read from
            self.pipe.send(task.key)

    def message(self) -> Message | None:
        """Return the worker's message, or the error that it has ended; None if neither."""
        alive = self.process.is_alive()
        with suppress(EOFError, OSError):
            if self.pipe.poll():
                received: Message = self.pipe.recv()
                return received
            if alive:
                return None
        self.process.join()
        return "failed", UserError(
            f"a worker process ended with code {self.process.exitcode}, often for lack of memory (-9); take a smaller "
            "folds.parallel. Finished folds are kept. Run the same command to continue."
        )

    def end(self, until: float) -> None:
        """Wait for the end of the process, and kill it after `until`, by `time.monotonic`."""
        with suppress(OSError):
            self.pipe.send(None)
        self.process.join(max(0.0, until - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


@contextmanager
def _started(workers: Workers, start: Callable[..., Finish], arguments: Sequence[Any]) -> Iterator[list[_Worker]]:
    """Start the processes, and end them with the block: at once where it raises."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices: list[str | None] = [visible_device(number, visible) for number in workers.gpus]
    started: list[_Worker] = []
    grace = PATIENCE
    try:
        for device in devices or [None] * workers.processes:
            started.append(_Worker(workers.threads, device, start, arguments))
        yield list(started)
    except BaseException:
        grace = GRACE
        for worker in started:
            worker.process.terminate()
        raise
    finally:
        until = time.monotonic() + grace
        for worker in started:
            worker.end(until)


def _work(pipe: Connection, threads: int, device: str | None, start: Callable[..., Finish], arguments: Sequence[Any]) -> None:
    """Build the job once in a worker, then finish the tasks whose keys arrive, until None arrives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    for name in ENDING:
        signal.signal(name, _exit)
    end_with_parent()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    use_threads(threads)
    try:
        finish = start(*arguments, lambda *values: pipe.send(("report", values)))
        for key in iter(pipe.recv, None):
            pipe.send(("finished", finish(*key)))
    except Exception as error:
        with suppress(OSError):  # the first process has ended
            pipe.send(("failed", _sendable(error)))


# A cluster sends both signals to all processes of a job.
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name)]


def _exit(*_: object) -> None:
    """Exit by an exception, so that finally blocks give back the lease; a second signal must not interrupt them."""
    for name in ENDING:
        signal.signal(name, signal.SIG_IGN)
    sys.exit(1)


def _sendable(error: Exception) -> Exception:
    """Return the error with its traceback as a note; its text alone if it cannot be sent to another process."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{one_line(error)}\n{traceback.format_exc()}")
    return error
