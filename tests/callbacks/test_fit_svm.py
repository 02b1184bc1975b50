from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from tiny import READING, SVM, TRUNK

from callbacks.fit_svm import FitSVM
from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
from experiment.core.folds import Splits
from experiment.core.seeds import seed_for
from lightning_modules.resnet_svm import ResNetSVM
from lightning_modules.trunk import Trunk


class Spy(ResNetSVM):
    """Remembers what its head was fitted on."""

    def fit_head(self, features, target, group, val, sample_ids, seed):  # type: ignore[no-untyped-def]
        self.seen = SimpleNamespace(features=features, target=target, group=group, val=val, ids=list(sample_ids), seed=seed)
        return super().fit_head(features, target, group, val, sample_ids, seed)


def spy(**settings: object) -> Spy:
    return Spy(**{"classes": ["absent", "present"], "trunk": TRUNK, **READING, **settings})  # type: ignore[arg-type]


def fit(model: ResNetSVM, data: SyntheticDataModule, callback: FitSVM, folder: Path) -> Trainer:
    trainer = Trainer(
        max_epochs=0, callbacks=[callback], logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return trainer


@pytest.fixture
def fitted(tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path) -> tuple[Spy, SyntheticDataModule]:  # type: ignore[no-untyped-def]
    split = next(iter(tiny_splits))
    tiny_data.set_split(split)
    torch.manual_seed(0)
    model = spy(features_from="pretrained", svm=SVM)
    fit(model, tiny_data, FitSVM(), tmp_path)
    return model, tiny_data


def test_the_head_is_fitted_on_fit_and_val_rows_and_no_other(fitted: tuple[Spy, SyntheticDataModule]) -> None:
    model, data = fitted
    assert model.seen.ids == [*data.split.fit, *data.split.val]
    assert [sample for sample, is_val in zip(model.seen.ids, model.seen.val, strict=True) if is_val] == list(data.split.val)
    rows = data.samples.select(model.seen.ids)
    assert model.seen.target.tolist() == rows["target"].tolist()
    assert model.seen.group.tolist() == rows["group"].tolist()


def test_the_seed_of_the_svm_is_that_of_experiment_and_fold_whatever_was_drawn_before(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    found = []
    for seed, split, before in [(7, 0, 1), (7, 0, 2), (7, 1, 1), (8, 0, 1)]:
        tiny_data.set_split(list(tiny_splits)[split])
        torch.manual_seed(before)
        model = spy(features_from="pretrained", svm={**SVM, "C": 1})
        fit(model, tiny_data, FitSVM(experiment_seed=seed), tmp_path)
        found.append(model.seen.seed)
    assert found == [seed_for(*parts, "svm") for parts in [(7, 0, 0), (7, 0, 0), (7, 0, 1), (8, 0, 0)]]


def test_features_are_those_of_the_images_as_they_are_not_augmented(fitted: tuple[Spy, SyntheticDataModule]) -> None:
    model, data = fitted
    first = next(iter(data.rows_loader(data.split.fit)))
    images = data.on_after_batch_transfer(first, 0)["image"]
    with torch.inference_mode():
        expected = model.eval().reading.skip_features(model.trunk, images).numpy()
    np.testing.assert_allclose(model.seen.features[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_such_a_head_is_refused(tiny_data: SyntheticDataModule) -> None:
    trainer = SimpleNamespace(datamodule=tiny_data)
    with pytest.raises(TypeError, match="LightningModule has no head"):
        FitSVM().on_fit_end(trainer, LightningModule())  # type: ignore[arg-type]


@pytest.mark.parametrize(("fit_views", "taken"), [(1, 1), (4, 4), (8, 4)])
def test_rows_that_the_network_was_fitted_on_may_be_read_in_fewer_symmetries(
    fit_views: int, taken: int, tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    split = next(iter(tiny_splits))
    tiny_data.set_split(split)
    svm = spy(symmetries=4, features_from="finetuned", svm={**SVM, "C": 1})
    svm.take_shared(Trunk(**TRUNK).state_dict())  # type: ignore[arg-type]
    fit(svm, tiny_data, FitSVM(fit_views=fit_views), tmp_path)
    for part, views in (("fit", taken), ("val", 4)):
        ids = list(getattr(split, part))
        with torch.inference_mode():
            expected = svm.eval().extract(tiny_data.views(ids), views)[:, svm.columns].numpy()
        found = svm.seen.features[[svm.seen.ids.index(sample) for sample in ids]]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_number_that_is_no_set_of_symmetries_is_refused() -> None:
    with pytest.raises(UserError, match=r"fit_svm.fit_views=3 is not allowed; allowed: 1, 4, 8"):
        FitSVM(fit_views=3)
