import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from tiny import RESNET
from torch.utils.data import DataLoader

from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
from experiment.core.folds import Splits
from experiment.core.symmetry import apply_symmetry
from experiment.core.tables import Split
from lightning_modules.resnet import ResNet


def resnet(**changes: object) -> ResNet:
    return ResNet(classes=["absent", "present"], **{**RESNET, **changes})  # type: ignore[arg-type]


def attached(model: ResNet, **trainer: object) -> ResNet:
    """The model with as much of a Trainer as its hooks read."""
    standard = {"gradient_clip_val": None, "estimated_stepping_batches": 100}
    model._trainer = SimpleNamespace(**{**standard, **trainer})  # type: ignore[assignment]
    return model


def test_predictions_are_the_softmax_of_the_logits_averaged_over_the_symmetries() -> None:
    model = resnet(symmetries=8).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = sum(model.logits(apply_symmetry(images, index)) for index in range(8)) / 8
        torch.testing.assert_close(model(images), expected.softmax(dim=1), rtol=1e-4, atol=1e-5)


def test_balanced_class_weights_are_those_of_the_fit_part(tiny_data: SyntheticDataModule) -> None:
    present = tiny_data.samples.rows.query("target == 1")["sample_id"].tolist()
    absent = tiny_data.samples.rows.query("target == 0")["sample_id"].tolist()
    # val and test are all present: they must not count
    split = Split(0, 0, fit=(*present[:2], *absent[:6]), val=tuple(present[2:9]), test=tuple(present[9:]))
    tiny_data.set_split(split)
    model = attached(resnet(class_weights="balanced"), datamodule=tiny_data)
    model.setup("fit")
    # n / (K · n_c) = 8 / (2 · 6) and 8 / (2 · 2)
    torch.testing.assert_close(model.class_weight, torch.tensor([2 / 3, 2.0]))


def test_without_class_weights_all_classes_count_alike(tiny_data: SyntheticDataModule) -> None:
    model = attached(resnet(class_weights="none"))
    model.setup("fit")
    assert model.class_weight.tolist() == [1.0, 1.0]


def test_earlier_stages_learn_slower_by_the_layer_decay() -> None:
    model = attached(resnet(lr=0.1, layer_decay=0.5, schedule="constant"))
    rates = {}
    for group in model.configure_optimizers().param_groups:  # type: ignore[union-attr]
        for parameter in group["params"]:
            rates[id(parameter)] = group["lr"]
    by_name = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    for name, expected in (
        ("head.weight", 0.1), ("trunk.net.layer4.0.conv1.weight", 0.1), ("trunk.net.layer3.0.conv1.weight", 0.05),
        ("trunk.net.layer2.0.conv1.weight", 0.025), ("trunk.net.layer1.0.conv1.weight", 0.0125),
        ("trunk.net.conv1.weight", 0.00625),
    ):  # fmt: skip
        assert by_name[name] == pytest.approx(expected), name


def test_biases_and_batch_norm_do_not_decay() -> None:
    model = attached(resnet(weight_decay=0.3, schedule="constant"))
    for group in model.configure_optimizers().param_groups:  # type: ignore[union-attr]
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.3}


@pytest.mark.parametrize(("schedule", "end"), [("one_cycle", 0.0), ("cosine", 0.0), ("constant", 1.0)])
def test_schedules_end_where_they_should(schedule: str, end: float) -> None:
    configured = attached(resnet(lr=1.0, schedule=schedule)).configure_optimizers()
    if schedule == "constant":
        assert configured.param_groups[0]["lr"] == end  # type: ignore[union-attr]
        return
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]  # type: ignore[index]
    for _ in range(99):
        optimizer.step()
        scheduler.step()
    assert math.isclose(optimizer.param_groups[0]["lr"], end, abs_tol=1e-3)


@pytest.mark.parametrize(("steps", "warmup"), [(4, 0.25), (2, 0.5), (1, 0.3), (3, 0.0)])
def test_a_rise_of_a_step_or_less_is_left_out(steps: int, warmup: float) -> None:
    model = attached(resnet(lr=1.0, warmup=warmup))
    model.trainer.estimated_stepping_batches = steps
    configured = model.configure_optimizers()
    assert configured["optimizer"].param_groups[0]["lr"] <= 1.0  # type: ignore[index]
    for _ in range(steps - 1):
        configured["optimizer"].step()  # type: ignore[index]
        configured["lr_scheduler"]["scheduler"].step()  # type: ignore[index]
    assert math.isfinite(configured["optimizer"].param_groups[0]["lr"])  # type: ignore[index]


def test_the_checkpoint_does_not_remember_where_the_weights_came_from() -> None:
    assert resnet().hparams["trunk"]["weights"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "step"}, "one_cycle, cosine, constant"),
        ({"class_weights": "sqrt"}, "balanced, none"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"dropout": -0.1}, "0 or more"),
        ({"lr": 0.0}, "lr above 0"),
        ({"layer_decay": 1.5}, "up to 1"),
        ({"pooling": ["mode"]}, r"model\.pooling=mode is not allowed; allowed: mean, max, std"),
    ],
)
def test_wrong_settings_say_what_is_allowed(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resnet(**changes)


def test_frozen_random_weights_are_refused() -> None:
    config = {"freeze_until": "layer2", "trunk": {"name": "resnet18", "weights": None}}
    with pytest.raises(UserError, match="would freeze random weights"):
        ResNet.files(config)


def trainer(tmp_path: Path, **options: object) -> Trainer:
    return Trainer(**{  # type: ignore[arg-type]
        "accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "limit_train_batches": 1, "default_root_dir": tmp_path, **options,
    })  # fmt: skip


@pytest.fixture
def one_fold(tiny_data: SyntheticDataModule, tiny_splits: Splits) -> SyntheticDataModule:
    tiny_data.set_split(next(iter(tiny_splits)))
    return tiny_data


def test_all_its_settings_have_defaults_and_are_hyper_parameters() -> None:
    model = ResNet(["absent", "present"])
    assert model.hparams["lr"] == 5e-4
    assert set(model.hparams) == {"classes", *RESNET}


def test_parameter_groups_are_named_by_stage_and_decay() -> None:
    model = attached(resnet(schedule="constant"))
    names = {}
    for group in model.configure_optimizers().param_groups:  # type: ignore[union-attr]
        names |= {id(parameter): group["name"] for parameter in group["params"]}
    by_name = {name: names[id(parameter)] for name, parameter in model.named_parameters()}
    assert by_name["trunk.net.conv1.weight"] == "stage0/decay"
    assert by_name["trunk.net.layer3.0.conv1.weight"] == "stage3/decay"
    assert by_name["trunk.net.layer3.0.bn1.weight"] == "stage3/no_decay"
    assert by_name["head.weight"] == by_name["trunk.net.layer4.0.conv1.weight"] == "stage4/decay"
    assert by_name["head.bias"] == "stage4/no_decay"


def test_a_monitor_of_learning_rates_shows_the_names(one_fold: SyntheticDataModule, tmp_path: Path) -> None:
    fitting = trainer(tmp_path, logger=CSVLogger(tmp_path), callbacks=[LearningRateMonitor("step")], log_every_n_steps=1)
    fitting.fit(resnet(), one_fold)
    columns = set(pd.read_csv(next(tmp_path.rglob("metrics.csv"))).columns)
    assert {f"lr-AdamW/stage{n}/{kind}" for n in range(5) for kind in ("decay", "no_decay")} <= columns


def test_trainer_test_scores_the_predictions_on_test_rows(one_fold: SyntheticDataModule, tmp_path: Path) -> None:
    model = resnet(symmetries=4)
    alone = trainer(tmp_path)
    scores = alone.test(model, one_fold, verbose=False)[0]
    one_fold.predict_parts = ("val", "test")
    batches = alone.predict(model, one_fold)[1]  # type: ignore[index]
    p = np.concatenate([probabilities[:, 1].numpy() for _, probabilities in batches])  # type: ignore[misc]
    target = one_fold.samples.select(one_fold.split.test)["target"]
    assert scores["test/auroc"] == pytest.approx(roc_auc_score(target, p), abs=1e-6)
    assert scores["test/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(target, p > 0.5), abs=1e-6)


def test_it_trains_on_other_data_where_no_classes_are_counted(tmp_path: Path) -> None:
    batches = [{"image": torch.rand(4, 3, 32, 32), "target": torch.arange(4) % 2, "sample_id": ["a", "b", "c", "d"]}]
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="class_weights=balanced counts the classes"):
        trainer(tmp_path).fit(resnet(class_weights="balanced"), loader)
    fitting = trainer(tmp_path)
    fitting.fit(resnet(class_weights="none"), loader)
    assert torch.isfinite(fitting.callback_metrics["train/loss"])


def test_stored_bits_are_no_images() -> None:
    with pytest.raises(UserError, match=r"images of type torch.uint8 are not allowed; take float RGB in \[0, 1\]"):
        resnet()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(("precision", "kind"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)])
def test_other_precisions_train_and_predict(
    precision: str, kind: torch.dtype, one_fold: SyntheticDataModule, tmp_path: Path
) -> None:
    whole = one_fold.split
    one_fold.set_split(Split(0, 0, *(part[:4] for part in (whole.fit, whole.val, whole.test))))  # some CPUs imitate bfloat16
    model, fitting = resnet(), trainer(tmp_path, precision=precision)
    fitting.fit(model, one_fold)
    assert model.head.weight.dtype == kind
    assert math.isfinite(fitting.callback_metrics["val/loss"])
    one_fold.predict_parts = ("val", "test")
    _, probabilities = fitting.predict(model, one_fold)[1][0]  # type: ignore[index, misc]
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(probabilities)), atol=0.02, rtol=0)


def test_float16_does_not_train(one_fold: SyntheticDataModule, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"precision=16-true is not allowed in training.*bf16-true"):
        trainer(tmp_path, precision="16-true").fit(resnet(), one_fold)


def test_without_a_last_epoch_only_a_constant_rate_is_possible(one_fold: SyntheticDataModule, tmp_path: Path) -> None:
    endless = {"max_epochs": -1, "max_time": {"seconds": 1}}
    with pytest.raises(UserError, match=r"schedule=one_cycle needs a last step, but trainer.max_epochs=-1 has none"):
        trainer(tmp_path, **endless).fit(resnet(schedule="one_cycle"), one_fold)
    fitting = trainer(tmp_path, **endless)
    fitting.fit(resnet(schedule="constant"), one_fold)
    assert fitting.global_step > 0
