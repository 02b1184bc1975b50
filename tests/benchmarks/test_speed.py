"""The driver: what it measures, what it reads from runs, and that it runs end to end."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from benchmarks.more_images import write_copies
from benchmarks.processes import Finished, measured
from benchmarks.runs import Question, job_result, script_result
from benchmarks.settings import ALL, BARE, FROZEN, PLAIN_SVM
from datamodules.images import read_image

ROOT = Path(__file__).resolve().parents[2]


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    work = "x = bytearray(300 * 2**20)\nfor i in range(2 * 10**6): pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}]); print('done')"
    done = measured([sys.executable, "-c", parent], tmp_path)
    assert done.stdout == "done\n"
    assert done.peak_gb > 0.29
    assert 0 < done.cpu_seconds < 60
    assert done.seconds > 0


def test_a_process_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="it ended with 1: ValueError: no"):
        measured([sys.executable, "-c", "raise ValueError('no')"], tmp_path)


@pytest.mark.parametrize(
    ("folds", "features"),
    [
        ([{"seconds": 9, "stages": {"features": 4.0, "svm": 2.0}}, {"seconds": 3, "stages": {"svm": 2.0}}], 4.0),
        ([{"seconds": 9}, {"seconds": 3}], 12.0),
    ],
)
def test_a_job_tells_its_scores_and_the_seconds_of_its_features(tmp_path: Path, folds: list, features: float) -> None:
    for number, marker in enumerate(folds):
        (tmp_path / f"repeat-0/fold-{number}").mkdir(parents=True)
        (tmp_path / f"repeat-0/fold-{number}/finished.json").write_text(json.dumps(marker))
    scores = {"balanced_accuracy": {"value": 0.75}, "auroc": {"value": 0.875}, "cost": {"seconds": 12}}
    (tmp_path / "metrics.json").write_text(json.dumps(scores))
    found = job_result(Finished(20.0, 30.0, 1.5, f"a table\nrun: {tmp_path}\n"))
    assert (found.seconds, found.cpu_seconds, found.peak_gb) == (20.0, 30.0, 1.5)
    assert (found.balanced_accuracy, found.auroc, found.features) == (0.75, 0.875, features)


def test_a_script_tells_the_scores_of_its_ensemble() -> None:
    facts = {"seconds": {"features": 3.0}, "scores": {
        "resnet": {"balanced_accuracy": 0.1, "auroc": 0.2}, "ensemble": {"balanced_accuracy": 0.7, "auroc": 0.8},
    }}  # fmt: skip
    found = script_result(Finished(1, 1, 1, json.dumps(facts)))
    assert (found.balanced_accuracy, found.auroc, found.features) == (0.7, 0.8, 3.0)


def test_every_setting_makes_a_command_on_the_same_images(tiny_folder: Path, tmp_path: Path) -> None:
    question = Question(tiny_folder, tmp_path / "weights.pth", 64, 2, 1, 24)
    job = question.job(ALL["second trial, new SVM"], question.data, tmp_path / "runs")
    assert {"data.image_size=64", "trainer.max_epochs=2", f"data.root={tiny_folder}", f"paths.runs={tmp_path / 'runs'}"} < set(
        job
    )
    assert job[-1] == "model.members.resnet_svm.svm.C=[1]"
    assert question.script(ALL[PLAIN_SVM])[-4:] == ["--workers", "1", "--models", "svm"]
    assert question.script(ALL[BARE])[-4:] == ["--image-size", "64", "--images", "24"]


def test_copies_of_images_differ_and_have_groups_of_their_own(tiny_folder: Path, tmp_path: Path) -> None:
    write_copies(tiny_folder, tmp_path, 3)
    with (tmp_path / "labels.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 72
    assert [row["group"] for row in rows[:4]] == ["patient0-0", "patient0-1", "patient0-2", "patient0-0"]
    images = [read_image(tmp_path / row["image"]) for row in rows]
    assert len({image.tobytes() for image in images}) == 72
    assert {(image.shape, image.dtype.name) for image in images} == {((32, 32), "uint8")}
    assert np.mean(images[0]) == pytest.approx(np.mean(read_image(tiny_folder / "0.png")), abs=1)


@pytest.mark.cluster
def test_the_command_prints_a_page_and_writes_it(tiny_folder: Path, tmp_path: Path) -> None:
    torch.save(models.resnet18().state_dict(), tmp_path / "weights.pth")
    command = [
        sys.executable, "-m", "benchmarks.speed", "--data", tiny_folder, "--weights", tmp_path / "weights.pth",
        "--image-size", "32", "--repeats", "1", "--only", FROZEN, BARE, "--out", tmp_path / "speed.md",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "speed.md").read_text()
    assert f"| {FROZEN} |" in done.stdout
    assert f"| {BARE} |" in done.stdout


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.speed", "--data", tmp_path, "--weights", tmp_path / "none.pth"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == f"{tmp_path / 'none.pth'} does not exist.\n"
