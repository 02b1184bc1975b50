"""Two commands on the same job share its folds; what a killed one was at is taken over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job import ROOT, TINY

JOB = ["model=resnet", "folds.k=3", "trainer.max_epochs=4", "logger=none", "keep_epoch_s=0"]
PATIENCE = 120  # seconds, on a machine that is busy


def begun(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, ROOT / "train.py", *TINY, *JOB],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def awaited(folder: Path, pattern: str) -> Path:
    until = time.time() + PATIENCE
    while time.time() < until:
        if found := list(folder.glob(pattern)):
            return found[0]
        time.sleep(0.05)
    raise TimeoutError(pattern)


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed process is noticed after a minute")
def test_two_commands_share_folds_and_one_goes_on_where_the_other_was_killed(tmp_path: Path) -> None:
    killed, other = begun(tmp_path), None
    try:
        kept = awaited(tmp_path, "runs/resnet-*/repeat-0/.fold-0.unfinished/epoch-*.ckpt")
        os.kill(killed.pid, signal.SIGSTOP)  # it holds its lease, until it is killed
        other = begun(tmp_path)
        awaited(tmp_path, "runs/resnet-*/repeat-0/.fold-1.lease")
        killed.kill()
        _, errors = other.communicate(timeout=PATIENCE)
    finally:
        for process in (killed, other):
            if process is not None:
                process.kill()
                process.wait()
    assert f"resnet repeat-0/fold-0: process {killed.pid} on " in errors
    assert [line.split(": ")[0] for line in errors.splitlines() if line.startswith("[")] == [
        "[1/3] resnet repeat-0/fold-1", "[2/3] resnet repeat-0/fold-2", "[3/3] resnet repeat-0/fold-0",
    ]  # fmt: skip
    folds = kept.parents[1]
    assert json.loads((folds / "fold-0" / "finished.json").read_text())["resumed_after_epochs"] >= 1
    assert sorted(path.name for path in folds.iterdir()) == ["fold-0", "fold-1", "fold-2"]
