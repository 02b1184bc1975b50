from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from tiny import BACKBONE, RESNET, SVM

from callbacks.fit_svm import FitSVM
from callbacks.keep_features import KeepFeatures
from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
from experiment.core.seeds import seed_for
from experiment.run.folds import Splits
from lightning_modules.backbone import SkipBackbone
from lightning_modules.resnet import ResNet
from lightning_modules.resnet_svm import ResNetSVM


class Spy(ResNetSVM):
    """Remembers what its head was fitted on."""

    def fit_head(self, features, target, group, val, sample_ids, seed):  # type: ignore[no-untyped-def]
        self.seen = SimpleNamespace(features=features, target=target, group=group, val=val, ids=list(sample_ids), seed=seed)
        return super().fit_head(features, target, group, val, sample_ids, seed)


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
    model = Spy(classes=["absent", "present"], backbone=BACKBONE, features_from="pretrained", svm=SVM)
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
        model = Spy(classes=["absent", "present"], backbone=BACKBONE, features_from="pretrained", svm={**SVM, "C": 1})
        fit(model, tiny_data, FitSVM(experiment_seed=seed), tmp_path)
        found.append(model.seen.seed)
    assert found == [seed_for(*parts, "svm") for parts in [(7, 0, 0), (7, 0, 0), (7, 0, 1), (8, 0, 0)]]


def test_features_are_those_of_the_images_as_they_are_not_augmented(fitted: tuple[Spy, SyntheticDataModule]) -> None:
    model, data = fitted
    first = next(iter(data.loader("fit")))
    images = data.on_after_batch_transfer(first, 0)["image"]
    with torch.inference_mode():
        expected = model.eval().backbone.skip_features(images).numpy()
    np.testing.assert_allclose(model.seen.features[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_such_a_head_is_refused(tiny_data: SyntheticDataModule) -> None:
    trainer = SimpleNamespace(datamodule=tiny_data)
    with pytest.raises(TypeError, match="LightningModule has no head"):
        FitSVM().on_fit_end(trainer, LightningModule())  # type: ignore[arg-type]


def model(seed: int = 0, **settings: object) -> ResNetSVM:
    """With random weights, of this seed."""
    torch.manual_seed(seed)
    return ResNetSVM(
        classes=["absent", "present"], backbone={**BACKBONE, **settings}, features_from="pretrained", svm={**SVM, "C": [1.0]}
    )


def test_other_folds_taps_and_poolings_do_not_show_images_to_the_network_again(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    every_feature = SkipBackbone.every_feature
    monkeypatch.setattr(
        SkipBackbone,
        "every_feature",
        lambda net, images, views: shown.append(len(images)) or every_feature(net, images, views),
    )
    for split in tiny_splits:
        for settings in ({}, {"taps": ["layer2"]}, {"pooling": ["std"]}):
            tiny_data.set_split(split)
            fit(model(**settings), tiny_data, FitSVM(str(tmp_path / "features"), 1.0), tmp_path)
    assert sum(shown) == len(tiny_data.samples.rows)
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_what_is_predicted_from_kept_features_is_what_the_images_give(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    tiny_data.set_split(next(iter(tiny_splits)))
    fitted = model()
    fit(fitted, tiny_data, FitSVM(str(tmp_path / "features"), 1.0), tmp_path)
    raw = next(iter(tiny_data.loader("test")))
    batch = tiny_data.on_after_batch_transfer(raw, 0)
    with torch.inference_mode():
        ids, kept = fitted.eval().predict_step(batch, 0)
        assert ids == batch["sample_id"]
        torch.testing.assert_close(kept, fitted(batch["image"]).float(), rtol=1e-4, atol=1e-5)
        fitted.known = {}
        torch.testing.assert_close(kept, fitted.predict_step(batch, 0)[1], rtol=1e-4, atol=1e-5)


def test_features_of_other_weights_are_other_features(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    tiny_data.set_split(next(iter(tiny_splits)))
    kept = []
    for seed in (0, 1, 0):
        fitted = model(seed)
        fit(fitted, tiny_data, FitSVM(str(tmp_path / "features"), 1.0), tmp_path)
        kept.append(torch.stack(list(fitted.known.values())))
    assert len(list((tmp_path / "features").iterdir())) == 2
    assert torch.equal(kept[0], kept[2])
    assert not torch.allclose(kept[0], kept[1])


def test_a_folds_own_network_is_shown_only_what_the_resnet_has_not_shown_it(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ResNet predicts from features that it keeps; the SVM on the same weights finds those of val and test rows."""
    split = next(iter(tiny_splits))
    tiny_data.set_split(split)
    torch.manual_seed(0)
    network = ResNet(classes=["absent", "present"], **RESNET)  # type: ignore[arg-type]
    cache = (str(tmp_path / "features"), 1.0)
    trainer = Trainer(callbacks=[KeepFeatures(*cache)], logger=False, enable_progress_bar=False, accelerator="cpu")
    predicted = trainer.predict(network, datamodule=tiny_data)
    svm = ResNetSVM(classes=["absent", "present"], backbone=BACKBONE, features_from="finetuned", svm={**SVM, "C": [1.0]})
    svm.take_shared(network.backbone.state_dict())

    shown: list[str] = []
    extract = SkipBackbone.extract
    monkeypatch.setattr(
        SkipBackbone, "extract", lambda net, batch, views: shown.extend(batch["sample_id"]) or extract(net, batch, views)
    )
    fit(svm, tiny_data, FitSVM(*cache), tmp_path)
    assert sorted(shown) == sorted(split.fit)
    assert svm.known.keys() == {*split.val, *split.test}

    test = predicted[1]  # type: ignore[index]
    batch = tiny_data.on_after_batch_transfer(next(iter(tiny_data.loader("test"))), 0)
    with torch.inference_mode():
        torch.testing.assert_close(test[0][1], network.eval()(batch["image"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("fit_views", "taken"), [(1, 1), (4, 4), (8, 4)])
def test_rows_that_the_network_was_fitted_on_may_be_read_in_fewer_symmetries(
    fit_views: int, taken: int, tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    split = next(iter(tiny_splits))
    tiny_data.set_split(split)
    svm = Spy(
        classes=["absent", "present"], backbone={**BACKBONE, "symmetries": 4}, features_from="finetuned", svm={**SVM, "C": 1}
    )
    svm.take_shared(SkipBackbone(**BACKBONE).state_dict())
    fit(svm, tiny_data, FitSVM(fit_views=fit_views), tmp_path)
    for part, views in (("fit", taken), ("val", 4)):
        ids = list(getattr(split, part))
        with torch.inference_mode():
            expected = svm.eval().backbone.every_feature(tiny_data.views(ids), views)[:, svm.columns].numpy()
        found = svm.seen.features[[svm.seen.ids.index(sample) for sample in ids]]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_number_that_is_no_set_of_symmetries_is_refused() -> None:
    with pytest.raises(UserError, match=r"fit_svm.fit_views=3 is not allowed; allowed: 1, 4, 8"):
        FitSVM(fit_views=3)
