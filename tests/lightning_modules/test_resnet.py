import math
from types import SimpleNamespace

import pytest
import torch
from tiny import RESNET

from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
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
