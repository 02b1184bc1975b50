"""The scores that the README quotes, on real images. Takes half an hour on two cores: pytest -m slow tests/test_real_images.py

EM_GRANULES_DATA names a folder with ``emps910/`` and ``ebc-crack/`` (docs/real-images.md says what they are),
EM_GRANULES_WEIGHTS a ResNet-18 state dict.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from datamodules.folder import FolderDataModule
from experiment.run.fitted_model import load_model
from experiment.store.runs import Run

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
DATA, WEIGHTS = os.environ.get("EM_GRANULES_DATA"), os.environ.get("EM_GRANULES_WEIGHTS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA or not WEIGHTS, reason="EM_GRANULES_DATA and EM_GRANULES_WEIGHTS are not set"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


def scores(runs: Path, name: str, size: int) -> tuple[dict[str, Any], float]:
    """Metrics of the three models by name, and seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, TRAIN, "model=ensemble", "data=folder", f"data.root={DATA}/{name}", f"data.image_size={size}",
            f"trunk.weights={WEIGHTS}", "trainer.max_epochs=5", "logger=none", f"paths.runs={runs / name}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seconds = time.perf_counter() - began
    found = {path.parent.name.rsplit("-", 2)[0]: json.loads(path.read_text()) for path in runs.glob(f"{name}/*/metrics.json")}
    return found, seconds


def test_a_balanced_and_fairly_easy_set(runs: Path) -> None:
    found, _ = scores(runs, "emps910", 160)
    value = {model: s["balanced_accuracy"]["value"] for model, s in found.items()}
    assert value["resnet"] >= 0.93
    assert value["resnet_svm"] >= 0.94
    assert found["ensemble"]["auroc"]["value"] >= 0.98


def test_a_rare_class_and_few_groups(runs: Path) -> None:
    found, _ = scores(runs, "ebc-crack", 128)
    assert all(sensitivity > 0 for sensitivity in found["resnet"]["sensitivity"]["folds"])
    assert found["ensemble"]["auroc"]["mean"] >= 0.93


@pytest.mark.parametrize(("name", "size"), [("emps910", 160), ("ebc-crack", 128)])
def test_the_same_command_again_takes_seconds(runs: Path, name: str, size: int) -> None:
    before = scores(runs, name, size)[0]
    after, seconds = scores(runs, name, size)
    assert after == before
    assert seconds < 15


def test_bfloat16_costs_no_more_than_half_a_point_of_balanced_accuracy(runs: Path) -> None:
    """The fine-tuned networks of all folds on their test images, one view each, in both precisions."""
    scores(runs, "emps910", 160)
    (resnet,) = (runs / "emps910").glob("resnet-*")
    exact, mixed = (balanced_accuracy(resnet, bfloat16) for bfloat16 in (False, True))
    assert abs(mixed - exact) <= 0.005


def balanced_accuracy(resnet: Path, bfloat16: bool) -> float:
    run = Run.load(resnet)
    data = FolderDataModule(f"{DATA}/emps910", image_size=160)
    samples, target, decided = data.load(), [], []
    for name, fold in run.folds():
        rows = run.splits.query(f"fold == {name[-1]} and part == 'test'")["sample_id"].tolist()
        model = load_model(fold)
        model.reading.symmetries = 1
        target += samples.select(rows)["target"].tolist()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            decided += [index for views in data.views(rows).split(64) for index in model(views).argmax(dim=1).tolist()]
    return float(balanced_accuracy_score(target, decided))
