"""Features are read once: what one model has shown to a network, another one on the same network finds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from tiny import FAMILIES, READING, RESNET, SVM, TRUNK

from datamodules.synthetic import SyntheticDataModule
from experiment.core.folds import Splits
from experiment.run.features import FeatureReader
from experiment.store.disk_cache import DiskCache
from lightning_modules.feature_model import FeatureModel
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM

CLASSES = ["absent", "present"]


def svm(seed: int = 0, **settings: object) -> ResNetSVM:
    """An unfitted SVM on random weights of this seed."""
    torch.manual_seed(seed)
    standard = {"trunk": TRUNK, **READING, "features_from": "pretrained", "svm": SVM}
    return ResNetSVM(CLASSES, **{**standard, **settings})  # type: ignore[arg-type]


class Shown:
    """Reads features, and counts the images that are shown to a network for it."""

    def __init__(self, data: SyntheticDataModule, cache: Path, gigabytes: float = 1.0) -> None:
        self.data, self.cache, self.ids = data, DiskCache(cache, gigabytes, ""), list[str]()
        self.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)

    def read(self, model: FeatureModel, ids: tuple[str, ...]) -> np.ndarray:
        def rows_loader(sample_ids: list[str]) -> object:
            self.ids += sample_ids
            return type(self.data).rows_loader(self.data, sample_ids)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.data, "rows_loader", rows_loader)
            return FeatureReader(self.trainer, model, self.data, self.cache).read(list(ids))


@pytest.fixture
def data(tiny_data: SyntheticDataModule, tiny_splits: Splits) -> SyntheticDataModule:
    tiny_data.set_split(next(iter(tiny_splits)))
    return tiny_data


def test_other_folds_taps_and_poolings_show_no_image_again(
    data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    shown = Shown(data, tmp_path / "features")
    for split in tiny_splits:
        for settings in ({}, {"taps": ["layer2"]}, {"pooling": ["std"]}):
            shown.read(svm(**settings), split.test)
    assert sorted(shown.ids) == sorted(data.samples.sample_id)
    assert len(list((tmp_path / "features").iterdir())) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_from_features_is_the_answer_from_images(name: str, data: SyntheticDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ResNet(CLASSES, **{**RESNET, "trunk": FAMILIES[name], "symmetries": 4}).eval()  # type: ignore[arg-type]
    ids = data.split.test
    p = model.predict_features(Shown(data, tmp_path).read(model, ids))
    with torch.inference_mode():
        np.testing.assert_allclose(p, model(data.views(ids)).numpy(), rtol=1e-4, atol=1e-5)


def test_the_svm_finds_what_the_classifier_has_shown_to_the_same_network(data: SyntheticDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResNet(CLASSES, **RESNET).eval()  # type: ignore[arg-type]
    shown = Shown(data, tmp_path)
    shown.read(network, data.split.test)
    on_it = svm(features_from="finetuned")
    on_it.take_shared(network.trunk.state_dict())
    features = shown.read(on_it, data.split.test)
    assert shown.ids == list(data.split.test)
    with torch.inference_mode():
        expected = on_it.eval().reading.skip_features(on_it.trunk, data.views(data.split.test))
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_features_of_other_weights_are_other_features(data: SyntheticDataModule, tmp_path: Path) -> None:
    shown = Shown(data, tmp_path)
    first, other, again = (shown.read(svm(seed), data.split.test) for seed in (0, 1, 0))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert len(shown.ids) == 2 * len(data.samples.rows)


def test_without_room_only_the_images_asked_for_are_shown(data: SyntheticDataModule, tmp_path: Path) -> None:
    shown = Shown(data, tmp_path, gigabytes=0)
    shown.read(svm(), data.split.test)
    assert shown.ids == list(data.split.test)
