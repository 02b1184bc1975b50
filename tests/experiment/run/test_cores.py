"""A job takes the cores that it was given, not those that the machine has."""

import os
from pathlib import Path

import pytest

from experiment.run import cores as module
from experiment.run.cores import GRANTED, cores, sleep_while_waiting


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(module, "_quota", lambda: None)
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", GRANTED):
        monkeypatch.delenv(name, raising=False)


def test_alone_it_takes_what_the_system_lets_it_use() -> None:
    assert cores() == 16


def test_slurm_gives_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert cores() == 16  # left over in a shell, outside a job
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert cores() == 4


def test_a_launcher_gives_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GRANTED, "5")
    assert cores() == 5
    monkeypatch.setenv(GRANTED, "40")
    assert cores() == 16


def test_a_container_has_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_quota", lambda: 2)
    assert cores() == 2


def test_the_quota_is_that_of_the_tightest_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    own = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), None)
    if own is None:
        pytest.skip("no control groups of the second kind here")
    group = tmp_path / own.strip("/") / "inner"
    group.mkdir(parents=True)
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    assert module._quota() is None
    (tmp_path / own.strip("/") / "cpu.max").write_text("250000 100000\n")
    assert module._quota() == 3


def test_waiting_threads_sleep_unless_the_user_wants_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    sleep_while_waiting()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_THREAD_TIMEOUT"]) == ("active", "4")
