from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from tiny import BACKBONE, SVM

from callbacks.fit_svm import FitSVM
from datamodules.synthetic import SyntheticDataModule
from experiment.folds import Splits
from lightning_modules.resnet_svm import ResNetSVM


class Spy(ResNetSVM):
    """Remembers what its head was fitted on."""

    def fit_head(self, features, target, group, val, sample_ids, seed):  # type: ignore[no-untyped-def]
        self.seen = SimpleNamespace(features=features, target=target, group=group, val=val, ids=list(sample_ids))
        return super().fit_head(features, target, group, val, sample_ids, seed)


@pytest.fixture
def fitted(tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path) -> tuple[Spy, SyntheticDataModule]:  # type: ignore[no-untyped-def]
    split = next(iter(tiny_splits))
    tiny_data.set_split(split)
    torch.manual_seed(0)
    model = Spy(classes=["absent", "present"], backbone=BACKBONE, features_from="pretrained", svm=SVM)
    trainer = Trainer(
        max_epochs=0, callbacks=[FitSVM()], logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=tiny_data)
    return model, tiny_data


def test_the_head_is_fitted_on_fit_and_val_rows_and_no_other(fitted: tuple[Spy, SyntheticDataModule]) -> None:
    model, data = fitted
    assert model.seen.ids == [*data.split.fit, *data.split.val]
    assert [sample for sample, is_val in zip(model.seen.ids, model.seen.val, strict=True) if is_val] == list(data.split.val)
    rows = data.samples.select(model.seen.ids)
    assert model.seen.target.tolist() == rows["target"].tolist()
    assert model.seen.group.tolist() == rows["group"].tolist()


def test_features_are_those_of_the_images_as_they_are_not_augmented(fitted: tuple[Spy, SyntheticDataModule]) -> None:
    model, data = fitted
    first = next(iter(data.loader("fit")))
    images = data.on_after_batch_transfer(first, 0)["image"]
    with torch.inference_mode():
        expected = model.eval().extract(images).numpy()
    np.testing.assert_allclose(model.seen.features[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_such_a_head_is_refused(tiny_data: SyntheticDataModule) -> None:
    trainer = SimpleNamespace(datamodule=tiny_data)
    with pytest.raises(TypeError, match="LightningModule has no head"):
        FitSVM().on_fit_end(trainer, LightningModule())  # type: ignore[arg-type]
