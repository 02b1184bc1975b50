"""Labels that mean nothing must give chance, through the whole chain: split, train, fit the SVM, calibrate, combine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from datamodules.synthetic import SyntheticDataModule
from experiment.core.build import plain
from experiment.core.folds import FoldScheme
from experiment.run.cross_validation import CrossValidation
from experiment.run.recipe import plan
from experiment.store.results import Result
from experiment.terminal.consoles import err
from experiment.terminal.progress import Progress
from experiment.tracking.trackers import Trackers

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.fixture(scope="module")
def data() -> SyntheticDataModule:
    module = SyntheticDataModule(images=300, patients=60, difficulty=0.0, image_size=32, batch_size=32)
    module.load()
    return module


def results(data: SyntheticDataModule, root: Path) -> list[Result]:
    overrides = ["trainer=cpu", "trainer.max_epochs=2", "logger=none", "callbacks=none", "model.network.symmetries=1"]
    with initialize_config_dir(str(CONF)):
        config = plain(compose("train", [*overrides, "model.combiner=weighted", f"paths.runs={root}"]))
    scheme = FoldScheme(k=3, val=0.2)
    splits = scheme.split(data.samples, 0)
    validation = CrossValidation(data, splits, scheme, config, Trackers(), Progress(err))
    return validation.run(plan(config["model"], config["trainer"], config["callbacks"], has_val=True))


def test_permuted_labels_give_chance_and_true_ones_do_not(data: SyntheticDataModule, tmp_path: Path) -> None:
    honest = {result.title: result.scores["auroc"]["value"] for result in results(data, tmp_path)}
    target = np.random.default_rng(1).permutation(data.samples.target)
    data.samples = replace(data.samples, rows=data.samples.rows.assign(target=target))
    permuted = {result.title: result.scores["auroc"]["value"] for result in results(data, tmp_path)}
    assert honest["resnet_svm"] > 0.75
    # the standard error of the AUROC of 300 random scores is sqrt((300 + 1) / (12 · 150 · 150)) = 0.033
    for title, auroc in permuted.items():
        assert abs(auroc - 0.5) < 4 * 0.033, title
