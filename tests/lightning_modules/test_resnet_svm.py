from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from tiny import READING, RESNET, SVM, TRUNK

from callbacks.fit_svm import FitSVM
from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
from experiment.core.folds import Splits
from experiment.core.tables import FinishedFold
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM
from lightning_modules.trunk import Trunk

CLASSES = ["absent", "present"]


def resnet_svm(**changes: object) -> ResNetSVM:
    return ResNetSVM(**{"classes": CLASSES, "trunk": TRUNK, **READING, "features_from": "finetuned", "svm": SVM, **changes})


def stored(model: torch.nn.Module, folder: Path) -> FinishedFold:
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, folder / "model.ckpt")
    return FinishedFold(folder)


def test_the_trunk_is_that_of_the_fine_tuned_network(tmp_path: Path) -> None:
    network = ResNet(classes=CLASSES, **RESNET)  # type: ignore[arg-type]
    model = resnet_svm()
    model.build_on({"resnet": stored(network, tmp_path)})
    for name, value in network.trunk.state_dict().items():
        assert torch.equal(model.trunk.state_dict()[name], value), name


def test_another_trunk_is_refused(tmp_path: Path) -> None:
    network = ResNet(classes=CLASSES, **{**RESNET, "trunk": {**TRUNK, "name": "resnet34"}})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="give both the same trunk"):
        resnet_svm().build_on({"resnet": stored(network, tmp_path)})


def test_only_fine_tuned_features_need_a_network_and_val_rows() -> None:
    config = {"features_from": "finetuned", "network": {"name": "resnet"}, "trunk": TRUNK}
    assert ResNetSVM.inputs(config) == {"resnet": {"name": "resnet"}}
    assert "val" in (ResNetSVM.needs_val(config) or "")
    config["features_from"] = "pretrained"
    assert ResNetSVM.inputs(config) == {}
    assert ResNetSVM.needs_val(config) is None
    assert ResNetSVM.files(config) == {"trunk.weights": "random"}


@pytest.mark.parametrize(("features_from", "held_out"), [("finetuned", 20), ("pretrained", 20)])
def test_held_out_predictions_are_of_the_val_rows(features_from: str, held_out: int) -> None:
    model = resnet_svm(features_from=features_from)
    rng = np.random.default_rng(0)
    target = np.arange(80) % 2
    features = (rng.normal(size=(80, model.reading.features)) + target[:, None]).astype(np.float32)
    val = np.arange(80) >= 60
    ids = [f"s{i}" for i in range(80)]
    model.fit_head(features, target, np.array([f"g{i // 2}" for i in range(80)], dtype=object), val, ids, seed=0)
    assert model.held_out is not None
    assert model.held_out["sample_id"].tolist() == ids[60:]
    assert len(model.held_out) == held_out
    assert model.how_fitted == "exact RBF kernel"


def test_fewer_rows_are_scored_when_the_network_has_seen_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = {}

    def spy(*args: object) -> None:
        assert args[0].shape == (80, model.reading.features)  # type: ignore[attr-defined]
        scored[features_from] = args[3].sum()  # type: ignore[attr-defined]
        raise StopIteration

    monkeypatch.setattr("lightning_modules.resnet_svm.fit_svm", spy)
    val = np.arange(80) >= 60
    for features_from in ("finetuned", "pretrained"):
        model = resnet_svm(features_from=features_from)
        with pytest.raises(StopIteration):
            model.fit_head(np.zeros((80, model.reading.features), np.float32), None, None, val, [], 0)  # type: ignore[arg-type]
    assert scored == {"finetuned": 20, "pretrained": 80}


def test_an_unknown_source_says_what_is_allowed() -> None:
    with pytest.raises(UserError, match="finetuned, pretrained"):
        resnet_svm(features_from="scratch")


@pytest.mark.parametrize("options", [{}, {"max_epochs": 2}, {"fast_dev_run": True}])
def test_a_plain_trainer_fits_it_without_a_gradient_step_whatever_the_epochs(
    options: dict[str, object], tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    tiny_data.set_split(next(iter(tiny_splits)))
    model = resnet_svm(features_from="pretrained", svm={**SVM, "C": 1, "gamma": 1})
    model.training_step = lambda *_: pytest.fail("a training step")  # type: ignore[method-assign]
    trainer = Trainer(
        accelerator="cpu", callbacks=[FitSVM()], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **options,  # type: ignore[arg-type]
    )  # fmt: skip
    trainer.fit(model, tiny_data)
    assert 0 <= trainer.test(model, tiny_data, verbose=False)[0]["test/auroc"] <= 1


def test_alone_it_needs_the_trunk_of_a_fine_tuned_network() -> None:
    model = resnet_svm(features_from="finetuned")
    with pytest.raises(UserError, match=r"give its trunk with take_shared\(resnet.trunk.state_dict\(\)\)"):
        model.setup("fit")
    model.take_shared(Trunk(**TRUNK).state_dict())  # type: ignore[arg-type]
    model.setup("fit")
