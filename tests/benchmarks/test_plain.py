"""The plain scripts, as commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.plain import TORCHVISION, Settings, run
from benchmarks.plain_images import Images, read_labels

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
    facts = script(module, tiny_folder)
    assert set(facts["scores"]) == {"resnet", "svm", "ensemble"}
    for scores in facts["scores"].values():
        assert 0 <= scores["balanced_accuracy"] <= 1
        assert 0 <= scores["auroc"] <= 1
    seconds = facts["seconds"]
    assert all(seconds[stage] > 0 for stage in ("fine_tune", "features", "svm"))
    assert sum(seconds[stage] for stage in ("fine_tune", "features", "svm")) <= seconds["total"]


def test_the_svm_alone_fine_tunes_nothing_and_sees_the_spot(tiny_folder: Path) -> None:
    facts = run(Settings(str(tiny_folder), "none", image_size=32, folds=2, models=("svm",)), TORCHVISION)
    assert set(facts["scores"]) == {"svm"}
    assert facts["scores"]["svm"]["auroc"] > 0.9
    assert facts["seconds"]["fine_tune"] == 0


def test_a_third_class_is_refused_in_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    rows = (tiny_folder / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "0.png,other,patient0"]))
    with pytest.raises(SystemExit, match="3 classes; this script separates two"):
        read_labels(str(tmp_path))


def test_images_are_augmented_by_symmetries_of_the_square_alone(tiny_folder: Path) -> None:
    rows = read_labels(str(tiny_folder)).head(1)
    plain, augmented = Images(rows, 32, augmented=False), Images(rows, 32, augmented=True)
    image = plain[0][0]
    views = [torch.rot90(side, turn, (1, 2)) for side in (image, image.flip(2)) for turn in range(4)]
    torch.manual_seed(0)
    drawn = [augmented[0][0] for _ in range(60)]
    # next() raises where a drawn image is no symmetry of the plain one
    assert {next(n for n, view in enumerate(views) if torch.equal(view, one)) for one in drawn} == set(range(8))
