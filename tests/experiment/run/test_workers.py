"""How many processes, and that tasks run after what they need, side by side."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from experiment.core.errors import UserError
from experiment.run import workers
from experiment.run.workers import GIB, Task, Workers, run_tasks


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def made(cores: int, gigabytes: int = 64, gpus: int = 0) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(workers, "_memory", lambda: gigabytes * GIB)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return made


@pytest.mark.parametrize(
    ("cores", "gigabytes", "gpus", "parallel", "folds", "expected"),
    [
        (2, 24, 0, "auto", 5, Workers(2, 1, even=4, wide=2)),
        (2, 24, 0, "auto", 10, Workers(2, 1)),
        (4, 24, 0, "auto", 5, Workers(4, 1, even=4, wide=4)),
        (4, 24, 0, "auto", 11, Workers(4, 1)),  # the last three leave one core idle, and no thread more for any of them
        (16, 64, 0, "auto", 5, Workers(5, 3)),
        (16, 64, 0, "auto", 50, Workers(16, 1, even=48, wide=8)),
        (16, 9, 0, "auto", 50, Workers(4, 4, even=48, wide=8)),  # two gigabytes a process
        (16, 1, 0, "auto", 50, Workers(1, 16)),
        (2, 24, 0, 1, 5, Workers(1, 2)),
        (2, 24, 0, 3, 5, Workers(3, 1)),
        (16, 64, 1, "auto", 5, Workers(1, 16)),  # one GPU serves one fold
        (16, 64, 4, "auto", 5, Workers(4, 4, (0, 1, 2, 3))),
        (16, 64, 4, 8, 5, Workers(8, 2, (0, 1, 2, 3, 0, 1, 2, 3))),
    ],
)
def test_the_machine_is_shared_out(machine, cores, gigabytes, gpus, parallel, folds, expected) -> None:  # type: ignore[no-untyped-def]
    machine(cores, gigabytes, gpus)
    assert Workers.of(parallel, folds, uses_gpu=True) == expected


def test_gpus_are_left_alone_by_a_job_on_the_cpu(machine) -> None:  # type: ignore[no-untyped-def]
    machine(cores=2, gpus=4)
    assert Workers.of("auto", 4, uses_gpu=False) == Workers(2, 1)


def test_the_last_folds_share_all_cores_wherever_they_run(machine) -> None:  # type: ignore[no-untyped-def]
    machine(cores=2)
    assert [Workers.of("auto", 5, uses_gpu=False).threads_of(number) for number in range(5)] == [1, 1, 1, 1, 2]
    assert [Workers.of(1, 5, uses_gpu=False).threads_of(number) for number in range(5)] == [2] * 5


_began: list[str] = []


def _begin(word: str) -> None:
    _began.append(word)


def _work(name: str, fold: str) -> tuple[str, int, int, float, float]:
    if name == "wrong":
        raise UserError(f"{fold} is wrong")
    started = time.time()
    time.sleep(0.5)
    return _began[0], os.getpid(), torch.get_num_threads(), started, time.time()


def _tasks(names: Sequence[str]) -> list[Task]:
    return [Task((name, fold), [("first", fold)] if name == "second" else []) for name in names for fold in ("a", "b")]


def test_tasks_run_side_by_side_and_after_what_they_need() -> None:
    results = dict(run_tasks(_tasks(["second", "first"]), Workers(2, 1), _begin, ["hello"], _work))
    assert results.keys() == {("first", "a"), ("first", "b"), ("second", "a"), ("second", "b")}
    assert {word for word, *_ in results.values()} == {"hello"}
    assert {threads for _, _, threads, *_ in results.values()} == {1}
    assert len({pid for _, pid, *_ in results.values()} | {os.getpid()}) == 3
    for fold in ("a", "b"):
        assert results["second", fold][3] >= results["first", fold][4]
    assert results["first", "a"][3] < results["first", "b"][4]
    assert results["first", "b"][3] < results["first", "a"][4]


def test_the_first_task_that_can_be_done_is_next() -> None:
    later = Task(("last", "a"), [])
    results = run_tasks([*_tasks(["second", "first"]), later], Workers(2, 1), _begin, ["hello"], _work)
    assert [key for key, _ in results][-1] == later.key  # though it could have begun when the others had to wait


def test_an_error_in_a_process_is_the_users_and_ends_it() -> None:
    with pytest.raises(UserError, match="a is wrong"):
        list(run_tasks(_tasks(["wrong", "first"]), Workers(1, 1), _begin, ["hello"], _work))


def _busy_at_first(name: str, fold: str) -> str | None:
    if fold == "a" and not _begun.get(name):
        _begun[name] = True
        return None
    return f"{name} {fold}"


_begun: dict[str, bool] = {}


def test_what_another_job_is_at_is_tried_again_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "POLL", 0.05)
    results = list(run_tasks(_tasks(["second", "first"]), Workers(1, 1), _begin, ["hello"], _busy_at_first))
    assert results == [
        (("first", "a"), None),
        (("first", "b"), "first b"),
        (("second", "b"), "second b"),
        (("first", "a"), "first a"),
        (("second", "a"), None),
        (("second", "a"), "second a"),
    ]


def _until_stopped(name: str, fold: str) -> str:
    try:
        if fold == "a":
            time.sleep(60)
        return fold
    finally:
        Path(_began[0], f"{name}-{fold}").touch()  # as a lease is given back


def test_who_is_stopped_stops_the_tasks_at_work(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's own processes ignore it
    try:
        _stopped_at_work(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _stopped_at_work(tmp_path: Path) -> None:
    tasks = [Task(("only", fold), []) for fold in "bacde"]
    results = run_tasks(tasks, Workers(1, 1), _begin, [str(tmp_path)], _until_stopped)
    assert next(results) == (("only", "b"), "b")
    started = time.time()
    threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert time.time() - started < 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["only-a", "only-b"]
