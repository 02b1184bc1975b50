import time

import pytest

from experiment.core import timing as stages
from experiment.core.timing import record_step, recording, stage


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stages.time, "perf_counter", clock)
    return clock


def test_a_stage_inside_another_counts_for_itself_alone(clock: Clock) -> None:
    with recording() as spent:
        with stage("predict", images=10):
            clock.now += 1
            with stage("features", images=40):
                clock.now += 8
                with stage("disk"):
                    clock.now += 0.5
            clock.now += 1
        with stage("features", images=8):
            clock.now += 4
    summary = spent.summary()
    assert summary["stages"] == {"disk": 0.5, "features": 12, "predict": 2}
    assert summary["images"] == {"features": 48, "predict": 10}


def test_a_stage_that_fails_is_counted(clock: Clock) -> None:
    def fail() -> None:
        with stage("train"):
            clock.now += 3
            raise ValueError("no")

    with recording() as spent, pytest.raises(ValueError, match="no"):
        fail()
    assert spent.summary()["stages"] == {"train": 3}


def test_steps_of_training_and_the_waits_between_them_add_up(clock: Clock) -> None:
    with recording() as spent:
        for step, seconds in (("loader", 1.0), ("model", 8.0), ("loader", 1.0), ("model", 10.0)):
            record_step(step, seconds)
    assert spent.summary()["steps"] == {"loader": 2, "model": 18}


def test_nobody_need_record() -> None:
    with stage("train"):
        record_step("model", 1.0)


def test_peak_memory_is_that_of_this_process() -> None:
    before = stages.peak_memory()["peak_memory_mib"]
    block = bytearray(600 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(0)
    assert stages.peak_memory()["peak_memory_mib"] >= max(600, before)
