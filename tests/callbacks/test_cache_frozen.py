"""Frozen layers are run once, and nothing else changes: the same loss, the same weights, the same features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from tiny import READING, RESNET, SVM, TRUNK

from callbacks.cache_frozen import CacheFrozen
from callbacks.fit_svm import FitSVM
from datamodules.synthetic import SyntheticDataModule
from experiment.core.folds import Splits
from experiment.run.features import FeatureReader
from experiment.store.disk_cache import DiskCache
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM

STAGES = ("layer1", "layer2", "layer3", "layer4")
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
    settings = {**RESNET, "symmetries": symmetries, "freeze_until": until}
    return ResNet(classes=["absent", "present"], **settings)  # type: ignore[arg-type]


def trained(model: ResNet, data: SyntheticDataModule, cache: Path, gigabytes: float, precision: str = "32-true") -> Trainer:
    trainer = Trainer(
        max_epochs=1, callbacks=[CacheFrozen(str(cache), gigabytes)], logger=False,
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
    assert from_images.trunk.activations is None
    assert from_activations.trunk.activations is not None
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "32-true" else {"rtol": 2e-2, "atol": 2e-2}
    for (name, expected), got in zip(from_images.state_dict().items(), from_activations.state_dict().values(), strict=True):
        torch.testing.assert_close(got, expected, **tolerance, msg=lambda text, name=name: f"{name}: {text}")
    ids = list(data.split.test)
    nothing = DiskCache(tmp_path, 0, "")
    p = [
        model.predict_features(FeatureReader(trainer, model, data, nothing).read(ids))
        for trainer, model in ((first, from_images), (second, from_activations))
    ]
    np.testing.assert_allclose(p[1], p[0], **tolerance)  # type: ignore[arg-type]


def test_frozen_layers_run_once_for_all_folds_and_for_the_svm(
    data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    views: list[int] = []

    def count(module: object, inputs: object, output: torch.Tensor) -> None:
        views.append(len(output))

    for split in tiny_splits:
        data.set_split(split)
        model = network("layer2")
        model.trunk.net.conv1.register_forward_hook(count)
        trained(model, data, tmp_path / "cache", 1)
        reading = {**READING, "symmetries": 4}
        svm = ResNetSVM(classes=["absent", "present"], trunk=TRUNK, **reading, features_from="finetuned", svm=SVM)  # type: ignore[arg-type]
        svm.trunk.net.conv1.register_forward_hook(count)
        svm.take_shared(model.trunk.state_dict())
        svm.trunk.freeze("layer2")
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
        stage = next((s for s in STAGES if f".{s}." in name), "stem" if "trunk" in name else "head")
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
    assert model.trunk.activations is None


def test_without_frozen_layers_nothing_is_kept_of_them(data: SyntheticDataModule, tmp_path: Path) -> None:
    model = network(None)
    trained(model, data, tmp_path / "cache", 1)
    assert model.trunk.activations is None
    assert not (tmp_path / "cache").exists()
