"""Tasks run after what they need, at the same time, in processes that end with the first."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from experiment.core.errors import UserError
from experiment.run import tasks
from experiment.run.tasks import Finish, Task, run_tasks
from experiment.run.workers import Workers

Report = Callable[..., None]


def working(word: str, report: Report) -> Finish:
    def finish(name: str, fold: str) -> tuple[str, int, int, float, float, str | None]:
        if name == "wrong":
            raise UserError(f"{fold} is wrong")
        if name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        started = time.time()
        report(name, fold, 1)
        time.sleep(0.5)
        return word, os.getpid(), torch.get_num_threads(), started, time.time(), os.environ.get("CUDA_VISIBLE_DEVICES")

    return finish


def made(names: Sequence[str]) -> list[Task]:
    return [Task((name, fold), [("first", fold)] if name == "second" else []) for name in names for fold in ("a", "b")]


def ignore(*_: object) -> None:
    pass


def test_tasks_run_at_the_same_time_and_after_what_they_need() -> None:
    reports: list[Any] = []
    results = dict(
        run_tasks(made(["second", "first"]), Workers(2, 1), working, ["hello"], lambda *values: reports.append(values))
    )
    assert results.keys() == {("first", "a"), ("first", "b"), ("second", "a"), ("second", "b")}
    assert {result[0] for result in results.values()} == {"hello"}
    assert {result[2] for result in results.values()} == {1}
    assert len({result[1] for result in results.values()} | {os.getpid()}) == 3
    for fold in ("a", "b"):
        assert results["second", fold][3] >= results["first", fold][4]
    assert sorted(reports) == [(name, fold, 1) for name in ("first", "second") for fold in ("a", "b")]


def test_the_first_task_whose_inputs_are_there_is_next() -> None:
    last = Task(("last", "a"), [])
    results = run_tasks([*made(["second", "first"]), last], Workers(2, 1), working, ["hello"], ignore)
    assert [key for key, _ in results][-1] == last.key  # though it could have begun when the others had to wait


def test_each_worker_has_a_device_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    results = dict(run_tasks(made(["first", "other"]), Workers(2, 1, gpus=(0, 1)), working, ["hello"], ignore))
    assert {result[5] for result in results.values()} == {"2", "3"}


def test_the_first_error_is_raised_when_running_tasks_are_done_and_no_other_is_begun() -> None:
    results = run_tasks([Task(("wrong", "a"), []), *made(["first"])], Workers(2, 1), working, ["hello"], ignore)
    assert next(results)[0] == ("first", "a")
    with pytest.raises(UserError, match="a is wrong"):
        next(results)


def test_a_worker_that_is_killed_is_an_error_in_one_line() -> None:
    with pytest.raises(UserError, match=r"a worker process ended with code -9, .* take a smaller folds.parallel"):
        list(run_tasks([Task(("killed", "a"), [])], Workers(1, 1), working, ["hello"], ignore))


def held_at_first(report: Report) -> Finish:
    begun: set[str] = set()

    def finish(name: str, fold: str) -> str | None:
        if fold == "a" and name not in begun:
            begun.add(name)
            return None
        return f"{name} {fold}"

    return finish


def test_what_another_job_holds_is_tried_again_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "POLL", 0.2)
    results = list(run_tasks(made(["second", "first"]), Workers(1, 1), held_at_first, [], ignore))
    assert results == [
        (("first", "a"), None),
        (("first", "b"), "first b"),
        (("second", "b"), "second b"),
        (("first", "a"), "first a"),
        (("second", "a"), None),
        (("second", "a"), "second a"),
    ]


def until_stopped(folder: str, report: Report) -> Finish:
    def finish(name: str, fold: str) -> str:
        try:
            if fold == "a":
                Path(folder, "begun").touch()
                time.sleep(60)
            return fold
        finally:
            Path(folder, f"{name}-{fold}").touch()  # as a lease is given back

    return finish


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_first_process_ends_the_running_tasks(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # as the command's own handler it raises
    try:
        results = run_tasks(
            [Task(("only", fold), []) for fold in "bacde"], Workers(1, 1), until_stopped, [str(tmp_path)], ignore
        )
        assert next(results) == (("only", "b"), "b")
        threading.Thread(target=kill_when_begun, args=(tmp_path, number)).start()
        with pytest.raises(KeyboardInterrupt):
            next(results)
    finally:
        signal.signal(number, before)
    ended = time.time()
    assert ended - (tmp_path / "begun").stat().st_mtime < 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "only-a", "only-b"]


def kill_when_begun(folder: Path, number: signal.Signals) -> None:
    while not (folder / "begun").exists():
        time.sleep(0.05)
    os.kill(os.getpid(), number)
