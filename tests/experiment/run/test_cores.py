"""A job takes the cores that it was given, not those that the machine has."""

import os

import joblib
import pytest

from experiment.run.cores import GRANTED, cores, sleep_while_waiting


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
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
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    assert cores() == 2


def test_waiting_threads_sleep_unless_the_user_wants_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    sleep_while_waiting()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_THREAD_TIMEOUT"]) == ("active", "4")
