"""A fold has one worker at a time, whatever becomes of it."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiment.store import lease
from experiment.store.lease import Lease, holder
from experiment.store.processes import started

PROCESSES = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "repeat-0" / ".fold-3.lease"


def abandon(path: Path, **content: Any) -> None:
    """A lease as a killed process leaves it."""
    path.unlink(missing_ok=True)
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        text = json.loads(path.read_text())
        assert taken is not None
    path.write_text(json.dumps({**text, "token": "abandoned", **content}))


def elsewhere(path: Path, silent: float) -> None:
    """A lease of another machine, silent for so many seconds by the file system's clock."""
    abandon(path, host="node7", machine="node7 another boot", pid=17)
    touched = path.stat().st_mtime - silent
    os.utime(path, (touched, touched))


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_a_lease_says_who_holds_it_and_is_gone_afterwards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert holder(path) is None
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        assert taken is not None
        found = holder(path)
        assert found is not None
        assert (found.pid, found.job, found.stale) == (os.getpid(), "17_3", False)
        assert found.age < 5
        assert abs(found.since - time.time()) < 5
        assert str(found) == f"process {os.getpid()} on {found.host}, job 17_3"
        assert names(path) == [path.name]
    assert holder(path) is None
    assert names(path) == []


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_error_gives_it_back(path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Lease.take(path):  # type: ignore[union-attr]
        raise error
    assert names(path) == []


def test_nobody_else_takes_it_meanwhile(path: Path) -> None:
    with Lease.take(path):  # type: ignore[union-attr]
        assert Lease.take(path) is None


def test_a_dead_process_of_this_machine_holds_nothing(path: Path) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    abandon(path, pid=done.pid)
    assert holder(path).stale  # type: ignore[union-attr]
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        assert taken is not None


def test_a_dead_process_that_nobody_buried_holds_nothing(path: Path) -> None:
    zombie = subprocess.Popen(["sleep", "60"])
    abandon(path, pid=zombie.pid, started=started(zombie.pid))
    assert not holder(path).stale  # type: ignore[union-attr]
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert holder(path).stale  # type: ignore[union-attr]
    zombie.wait()


def test_another_process_with_the_same_number_is_not_the_holder(path: Path) -> None:
    abandon(path, started="17")  # this process has its number, but was started at another time
    assert holder(path).stale  # type: ignore[union-attr]


def test_a_process_of_another_machine_is_believed_until_it_is_silent(path: Path) -> None:
    elsewhere(path, silent=lease.EXPIRY - 20)
    assert Lease.take(path) is None
    assert not holder(path).stale  # type: ignore[union-attr]
    elsewhere(path, silent=lease.EXPIRY + 20)
    assert holder(path).stale  # type: ignore[union-attr]
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        assert taken is not None
        assert holder(path).pid == os.getpid()  # type: ignore[union-attr]
        assert names(path) == [path.name]


def test_ages_are_by_the_clock_of_the_file_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(path, silent=0)
    monkeypatch.setattr(time, "time", lambda: 10.0**10)  # this machine's clock is far ahead
    assert not holder(path).stale  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", '{"host": '])
def test_a_lease_whose_writer_was_killed_expires_too(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    assert str(holder(path)) == "a job that has just begun"
    assert Lease.take(path) is None
    long_ago = time.time() - lease.EXPIRY - 20
    os.utime(path, (long_ago, long_ago))
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        assert taken is not None


def test_signs_of_life_keep_it(path: Path) -> None:
    with Lease.take(path, beat=0.05):  # type: ignore[union-attr]
        os.utime(path, (1, 1))
        time.sleep(0.5)
        assert holder(path).age < lease.EXPIRY  # type: ignore[union-attr]


def test_who_was_suspended_too_long_neither_refreshes_nor_removes_the_lease_of_its_successor(path: Path) -> None:
    suspended = Lease.take(path, beat=0.05)
    assert suspended is not None
    abandon_text = path.read_text().replace(suspended.token, "successor")
    path.write_text(abandon_text)
    os.utime(path, (1, 1))
    time.sleep(0.3)
    assert path.stat().st_mtime == 1
    suspended.give_back()
    assert "successor" in path.read_text()


def test_a_claim_whose_process_was_killed_blocks_nobody_for_long(path: Path) -> None:
    elsewhere(path, silent=lease.EXPIRY + 20)
    claim = path.with_name(f"{path.name}.abandoned.claim")
    claim.write_text("")
    assert Lease.take(path) is None
    os.utime(claim, (1, 1))
    assert Lease.take(path) is None  # this one removes the claim
    with Lease.take(path) as taken:  # type: ignore[union-attr]
        assert taken is not None


def _race(path: Path, start: Any, end: Any, won: Any) -> None:
    start.wait()
    until = time.time() + 0.5
    taken = None
    while taken is None and time.time() < until:
        taken = Lease.take(path)
    if taken is not None:
        won.put(os.getpid())
    end.wait()  # nobody gives it back before all have tried
    if taken is not None:
        taken.give_back()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_processes_exactly_one_takes_it(path: Path, stale: bool) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        if stale:
            elsewhere(path, silent=lease.EXPIRY + 20)
        start, end, won = context.Barrier(PROCESSES), context.Barrier(PROCESSES), context.SimpleQueue()
        racing = [context.Process(target=_race, args=(path, start, end, won)) for _ in range(PROCESSES)]
        for process in racing:
            process.start()
        for process in racing:
            process.join()
        winners = []
        while not won.empty():
            winners.append(won.get())
        assert len(winners) == 1
        assert names(path) == []
