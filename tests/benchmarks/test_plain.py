"""The plain scripts, as commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(module: str, folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", module, "--data", folder, "--weights", "none", "--image-size", "32", "--epochs", "1"]
    done = subprocess.run([*command, "--folds", "2", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ["benchmarks.plain", "benchmarks.plain_timm"])
def test_it_scores_both_models_and_their_ensemble_over_all_rows(module: str, tiny_folder: Path) -> None:
    if module == "benchmarks.plain_timm":
        pytest.importorskip("timm", reason="timm is not installed (extra: bench)")
    told = script(module, tiny_folder)
    assert set(told["scores"]) == {"resnet", "svm", "ensemble"}
    for scores in told["scores"].values():
        assert 0 <= scores["balanced_accuracy"] <= 1
        assert 0 <= scores["auroc"] <= 1
    seconds = told["seconds"]
    assert all(seconds[stage] > 0 for stage in ("fine_tune", "features", "svm"))
    assert sum(seconds[stage] for stage in ("fine_tune", "features", "svm")) <= seconds["total"]


def test_the_svm_alone_fine_tunes_nothing_and_sees_the_spot(tiny_folder: Path) -> None:
    told = script("benchmarks.plain", tiny_folder, "--models", "svm")
    assert set(told["scores"]) == {"svm"}
    assert told["scores"]["svm"]["auroc"] > 0.9
    assert told["seconds"]["fine_tune"] == 0


def test_a_third_class_is_refused_in_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    rows = (tiny_folder / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "0.png,other,patient0"]))
    command = [sys.executable, "-m", "benchmarks.plain", "--data", tmp_path, "--weights", "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}: 3 classes; this script separates two.\n"
