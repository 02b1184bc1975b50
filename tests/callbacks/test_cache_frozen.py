"""Frozen layers are run once, and nothing else changes: the same loss, the same weights, the same features."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from tiny import BACKBONE, RESNET, SVM

from callbacks.cache_frozen import CacheFrozen
from callbacks.fit_svm import FitSVM
from callbacks.keep_features import KeepFeatures
from datamodules.synthetic import SyntheticDataModule
from experiment.run.folds import Splits
from lightning_modules.backbone import SkipBackbone
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM
from lightning_modules.taps import STAGES

EXACT = {"contrast": 0.0, "brightness": 0.0}


@pytest.fixture
def data(tiny_splits: Splits) -> SyntheticDataModule:
    """Augmentation of symmetries alone; the first fold."""
    data = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8, augment=EXACT)
    data.load()
    data.set_split(next(iter(tiny_splits)))
    return data


def network(until: str | None, symmetries: int = 4) -> ResNet:
    torch.manual_seed(0)
    settings = {**RESNET, "backbone": {**BACKBONE, "symmetries": symmetries}, "freeze_until": until}
    return ResNet(classes=["absent", "present"], **settings)  # type: ignore[arg-type]


def trained(model: ResNet, data: SyntheticDataModule, cache: Path, gigabytes: float, precision: str = "32-true") -> Trainer:
    trainer = Trainer(
        max_epochs=1, callbacks=[CacheFrozen(str(cache), gigabytes), KeepFeatures(str(cache), gigabytes)], logger=False,
        enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=cache.parent, precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.fit(model, datamodule=data)
    return trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("until", ["stem", "layer2", "layer4"])
def test_training_from_kept_activations_gives_what_training_from_images_gives(
    until: str, precision: str, data: SyntheticDataModule, tmp_path: Path
) -> None:
    from_images, from_activations = network(until), network(until)
    first = trained(from_images, data, tmp_path / "none", 0, precision)
    second = trained(from_activations, data, tmp_path / "cache", 1, precision)
    assert from_images.backbone.activations is None
    assert from_activations.backbone.activations is not None
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "32-true" else {"rtol": 2e-2, "atol": 2e-2}
    for (name, expected), got in zip(from_images.state_dict().items(), from_activations.state_dict().values(), strict=True):
        torch.testing.assert_close(got, expected, **tolerance, msg=lambda text, name=name: f"{name}: {text}")
    expected, got = (t.predict(m, datamodule=data) for t, m in ((first, from_images), (second, from_activations)))
    for (ids, p), (same_ids, same_p) in zip(expected[1], got[1], strict=True):  # type: ignore[index]
        assert ids == same_ids
        torch.testing.assert_close(same_p, p, **tolerance)


def test_frozen_layers_run_once_for_all_folds_and_for_the_svm(
    data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[int] = []
    stem = SkipBackbone._stem
    monkeypatch.setattr(SkipBackbone, "_stem", lambda net, x: views.append(len(x)) or stem(net, x))
    for split in tiny_splits:
        data.set_split(split)
        model = network("layer2")
        trained(model, data, tmp_path / "cache", 1)
        svm = ResNetSVM(
            classes=["absent", "present"], backbone={**BACKBONE, "symmetries": 4}, features_from="finetuned", svm=SVM
        )
        svm.take_shared(model.backbone.state_dict())
        svm.backbone.freeze("layer2")
        callbacks = [CacheFrozen(str(tmp_path / "cache"), 1), FitSVM(str(tmp_path / "cache"), 1)]
        Trainer(
            max_epochs=0, callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        ).fit(svm, datamodule=data)  # fmt: skip
    assert sum(views) == 8 * len(data.samples.rows), "each image once in each symmetry that augmentation draws"


def test_frozen_layers_keep_their_weights_and_their_statistics(data: SyntheticDataModule, tmp_path: Path) -> None:
    model = network("layer2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(model, data, tmp_path / "none", 0)
    for name, value in model.state_dict().items():
        stage = next((s for s in STAGES if f".{s}." in name), "stem" if "backbone" in name else "head")
        changed = not torch.equal(value, before[name])
        assert changed == (stage in ("layer3", "layer4", "head")), name


def test_augmentation_that_changes_pixels_runs_frozen_layers_in_every_epoch_and_says_so(
    tiny_splits: Splits, tmp_path: Path
) -> None:
    data = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8)
    data.load()
    data.set_split(next(iter(tiny_splits)))
    model = network("layer2")
    with pytest.warns(UserWarning, match=r"frozen layers run in every epoch: augmentation changes pixels \(data.augment"):
        trained(model, data, tmp_path / "cache", 1)
    assert model.backbone.activations is None


def test_without_frozen_layers_nothing_is_kept_of_them(data: SyntheticDataModule, tmp_path: Path) -> None:
    model = network(None)
    trained(model, data, tmp_path / "cache", 1)
    assert model.backbone.activations is None
    assert not (tmp_path / "cache").exists()
