"""Folds as jobs of a real Slurm cluster. One is preempted in the middle of training, and the numbers do not tell."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import slurm
from job import ROOT, TINY, run_of, train

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(slurm.missing()), reason=f"no Slurm cluster can be started: {slurm.missing()}"),
]

FOLDS = 5
JOB = ["model=resnet", f"folds.k={FOLDS}", "trainer.max_epochs=6", "logger=none", "keep_epoch_s=0"]
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]
PATIENCE = 240  # seconds, on a machine that is busy


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    folder = tmp_path / "slurm"
    folder.mkdir()
    with slurm.running(folder) as environment:
        yield environment


def preempt_one_in_training(folder: Path, environment: dict[str, str]) -> Path:
    """Signal a job as Slurm does before it takes the machine away; gives the fold that it was at."""
    until = time.time() + PATIENCE
    while time.time() < until:
        for kept in folder.glob("runs/resnet-*/repeat-0/.fold-*.unfinished/epoch-*.ckpt"):
            fold = kept.parent.name.removesuffix(".unfinished").removeprefix(".")
            lease = kept.parents[1] / f".{fold}.lease"
            job = json.loads(lease.read_text())["job"]
            with suppress(subprocess.TimeoutExpired):  # it sends the signal at once, and may then wait for the job to change
                subprocess.run(["scancel", "--signal=USR2", job], env=environment, timeout=5, check=False)
            return kept.parents[1] / fold
        time.sleep(0.05)
    raise TimeoutError("no job has kept an epoch")


def hurry_requeued(environment: dict[str, str]) -> None:
    """Slurm lets two minutes pass before it starts a job again."""
    listed = subprocess.run(
        ["squeue", "-h", "-t", "PENDING", "-o", "%i %r"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    for line in listed.splitlines():
        job, _, reason = line.partition(" ")
        if reason == "BeginTime":
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], env=environment, check=False)


def test_folds_as_jobs_one_of_them_preempted_give_the_numbers_of_one_job(
    cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_oof
) -> None:
    folder = tmp_path / "user"
    folder.mkdir()
    only = "folds.only=" + ",".join(f"[{fold}]" for fold in range(FOLDS))
    with (tmp_path / "sweep.log").open("w") as log:
        sweep = subprocess.Popen(
            [sys.executable, ROOT / "train.py", *TINY, *JOB, "-m", only, *SLURM],
            cwd=folder, env=cluster, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            preempted = preempt_one_in_training(folder, cluster)
            until = time.time() + PATIENCE
            while sweep.poll() is None and time.time() < until:
                hurry_requeued(cluster)
                time.sleep(0.5)
        finally:
            sweep.kill()
    assert sweep.returncode == 0, (tmp_path / "sweep.log").read_text()

    marker = json.loads((preempted / "finished.json").read_text())
    assert marker["resumed_after_epochs"] >= 1
    assert sorted(path.name for path in preempted.parent.iterdir()) == [f"fold-{fold}" for fold in range(FOLDS)]
    assert [path.name for path in folder.iterdir()] == ["runs"]

    monkeypatch.setenv("EM_GRANULES_CORES", "1")  # as the jobs had: threads move the last digits
    merged = train(folder, *JOB)
    assert "fold-" not in merged.stderr  # nothing is trained
    alone = tmp_path / "alone"
    alone.mkdir()
    serial = train(alone, *JOB)
    assert run_of(merged).name == run_of(serial).name
    pd.testing.assert_frame_equal(read_oof(run_of(merged)), read_oof(run_of(serial)), check_exact=True)
