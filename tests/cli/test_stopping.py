"""A job that is stopped stops its workers in the middle of a fold, and no lease stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job import ROOT, TINY

JOB = ["model=resnet", "trainer.max_epochs=1000", "logger=none", "folds.parallel=2", "keep_epoch_s=0"]
PATIENCE = 120  # seconds until training begins, on a machine that is busy
AT_ONCE = 15  # seconds; a fold would take many minutes


def processes_of(folder: Path) -> set[int]:
    """The processes that work in `folder`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                os.readlink(process / "cwd") == str(folder)
                and "Z" not in (process / "stat").read_text().rpartition(")")[2][:3]
            ):
                found.add(int(process.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_at_once_and_give_back_their_leases(tmp_path: Path, number: signal.Signals) -> None:
    job = subprocess.Popen(
        [sys.executable, ROOT / "train.py", *TINY, *JOB],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        until = time.time() + PATIENCE
        while len(list(tmp_path.glob("runs/*/repeat-0/.*.unfinished/epoch-*.ckpt"))) < 2:
            assert job.poll() is None
            assert time.time() < until
            time.sleep(0.1)
        assert len(list(tmp_path.glob("runs/*/repeat-0/.*.lease"))) == 2
        job.send_signal(number)
        until = time.time() + AT_ONCE
        while processes_of(tmp_path) - ({job.pid} if job.poll() is not None else set()):
            assert time.time() < until
            time.sleep(0.1)
        _, errors = job.communicate()
    finally:
        job.kill()
    assert not list(tmp_path.glob("runs/*/repeat-0/.*.lease"))
    if number == signal.SIGKILL:
        assert job.returncode == -signal.SIGKILL
    else:
        assert job.returncode == 1
        assert "error: interrupted; finished folds are kept" in errors
