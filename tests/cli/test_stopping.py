"""A job that is stopped ends with all its processes in seconds, and the same command goes on to the same numbers."""

import signal
import sys
import time
from pathlib import Path
from subprocess import Popen

import pytest

from benchmarks import interrupts
from benchmarks.interrupts import SIGNALS, Outcome, interrupt, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
MESSAGE = "error: interrupted; finished folds are kept. Run the same command to continue."
LONG = ["model=resnet", "trainer.max_epochs=1000"]
PATIENCE = 120  # seconds until training begins, on a machine that is busy


def ended(outcome: Outcome, number: signal.Signals) -> None:
    assert outcome.left == 0
    assert outcome.code == 128 + number
    assert "Traceback" not in outcome.errors
    assert (MESSAGE in outcome.errors.splitlines()) == (number != signal.SIGKILL)


def begun(folder: Path, *overrides: str, epochs: int) -> Popen[str]:
    """A job whose folds have so many stored epochs."""
    job = start(folder, *LONG, *overrides)
    until = time.time() + PATIENCE
    while len(list(folder.glob("runs/*/repeat-0/.*.unfinished/epoch-*.ckpt"))) < epochs:
        assert job.poll() is None
        assert time.time() < until
        time.sleep(0.1)
    return job


def leases(folder: Path) -> int:
    return len(list(folder.glob("runs/*/repeat-0/.*.lease")))


@pytest.mark.parametrize("number", SIGNALS)
def test_workers_end_in_the_middle_of_a_fold_and_give_back_their_leases(tmp_path: Path, number: signal.Signals) -> None:
    job = begun(tmp_path, epochs=2)
    assert leases(tmp_path) == 2
    ended(interrupt(job, number, group=number == signal.SIGINT), number)
    assert leases(tmp_path) == 0


@pytest.mark.cluster
@pytest.mark.parametrize("number", SIGNALS)
def test_loaders_end_with_a_job_that_is_one_process(tmp_path: Path, number: signal.Signals) -> None:
    job = begun(tmp_path, "folds.parallel=1", "data.num_workers=2", epochs=1)
    assert len(interrupts.processes(job.pid)) > 2
    ended(interrupt(job, number, group=number == signal.SIGINT), number)


@pytest.mark.slow  # an hour on two cores
@pytest.mark.parametrize("number", SIGNALS)
def test_jobs_end_at_any_moment_and_go_on_to_the_same_numbers(tmp_path: Path, number: signal.Signals) -> None:
    assert interrupts.main(20, tmp_path, [number]) == 0
