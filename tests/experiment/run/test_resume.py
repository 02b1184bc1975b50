"""A fit that was cut short and taken up gives the numbers of one that was not, to the bit."""

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from tiny import RESNET, TRAINER
from torch import nn

from datamodules.synthetic import SyntheticDataModule
from experiment.core.contracts import Batch, FoldModel
from experiment.core.folds import Splits
from experiment.run.random_state import random_state, set_random_state
from experiment.run.resume import Unfinished
from experiment.run.training import fit
from lightning_modules.resnet import ResNet

EPOCHS = 4


class PowerCutError(Exception):
    pass


class PowerCut(Callback):
    """Ends the process in the middle of an epoch, as far as a test can."""

    def __init__(self, epoch: int, batch: int = 1) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            raise PowerCutError


class Small(FoldModel):
    """Little to write, but with all that a network has: dropout, batch statistics, momenta, a schedule by step."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = ("absent", "present")
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.LazyLinear(2)
        )
        self.layers(torch.zeros(2, 3, 32, 32))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.layers(batch["image"]), batch["target"])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", nn.functional.cross_entropy(self.layers(batch["image"]), batch["target"]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Draws(Callback):
    """What any code may do: draw random numbers while training goes on. Told with the curves."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("drawn", random.random() + float(np.random.rand()) + float(torch.rand(())))  # noqa: NPY002


@pytest.fixture
def data(tiny_data: SyntheticDataModule, tiny_splits: Splits) -> SyntheticDataModule:
    tiny_data.set_split(next(iter(tiny_splits)))
    return tiny_data


def fitted(
    data: SyntheticDataModule,
    folder: Path,
    unfinished: Unfinished | None = None,
    callbacks: Sequence[Callback] = (),
    model: FoldModel | None = None,
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """The weights and the curves."""
    folder.mkdir(exist_ok=True)
    seed_everything(3, verbose=False)
    model = model or Small()
    trainer = {**TRAINER, "max_epochs": EPOCHS, "log_every_n_steps": 2}
    fit(model, data, trainer, [LearningRateMonitor(), Draws(), *callbacks], [], folder, unfinished)
    saved = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    return saved, pd.read_csv(folder / "history.csv")


def cut_short(data: SyntheticDataModule, folder: Path, unfinished: Unfinished, cut: PowerCut, *callbacks: Callback) -> None:
    with pytest.raises(PowerCutError):
        fitted(data, folder, unfinished, [*callbacks, cut])


def same(one: tuple[Any, pd.DataFrame], other: tuple[Any, pd.DataFrame]) -> bool:
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    pd.testing.assert_frame_equal(one[1], other[1][one[1].columns], check_exact=True)
    return True


@pytest.fixture(scope="module")
def uncut(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    tiny_data.set_split(next(iter(tiny_splits)))
    return fitted(tiny_data, tmp_path_factory.mktemp("uncut"))


def test_a_fit_taken_up_twice_gives_the_weights_and_the_curves_of_one_that_was_not(data, uncut, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / ".fold-0.unfinished", 0)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=2))
    assert unfinished.epochs == 2
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=3, batch=0))
    assert [file.name for file in unfinished.folder.iterdir()] == ["epoch-3.ckpt"]
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished))
    assert set(uncut[1]["epoch"].dropna()) == set(range(EPOCHS))


def test_so_does_a_resnet_with_a_schedule_by_epoch(data, tmp_path: Path) -> None:
    class ByEpoch(ResNet):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 1e-2, momentum=0.9)
            return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)}

    def network() -> ResNet:
        seed_everything(3, verbose=False)
        return ByEpoch(classes=["absent", "present"], **RESNET)  # type: ignore[arg-type]

    uncut = fitted(data, tmp_path / "uncut", model=network())
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    with pytest.raises(PowerCutError):
        fitted(data, tmp_path / "cut", unfinished, [PowerCut(epoch=2)], network())
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished, model=network()))


def test_keeping_epochs_changes_nothing(data, uncut, tmp_path: Path) -> None:
    assert same(uncut, fitted(data, tmp_path / "kept", Unfinished(tmp_path / "unfinished", 0)))


@pytest.mark.parametrize("every", [3600, None])
def test_a_fit_shorter_than_the_interval_keeps_nothing(data, every: float | None, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "unfinished", every)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=2))
    assert not unfinished.folder.exists()


def test_what_comes_after_training_is_taken_up_without_training_again(data, uncut, tmp_path: Path) -> None:
    class CutAfter(Callback):
        def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            raise PowerCutError

    class Drawn(Callback):
        def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.drawn = float(torch.rand(()))

    unfinished = Unfinished(tmp_path / "unfinished", 0)
    first = Drawn()
    with pytest.raises(PowerCutError):
        fitted(data, tmp_path / "cut", unfinished, [first, CutAfter()])
    assert unfinished.epochs == EPOCHS
    second = Drawn()
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished, [second, PowerCut(epoch=0), PowerCut(EPOCHS - 1)]))
    assert first.drawn == second.drawn


def test_a_fit_that_had_stopped_early_does_not_go_on(data, tmp_path: Path) -> None:
    class CutAfter(Callback):
        def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            raise PowerCutError

    def stopping() -> EarlyStopping:
        return EarlyStopping("val/loss", patience=1, min_delta=100)  # nothing is ever that much better

    uncut = fitted(data, tmp_path / "uncut", None, [stopping()])
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    with pytest.raises(PowerCutError):
        fitted(data, tmp_path / "cut", unfinished, [stopping(), CutAfter()])
    assert unfinished.epochs == 2
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished, [stopping()]))


def test_patience_is_not_forgotten(data, tmp_path: Path) -> None:
    def stopping() -> EarlyStopping:
        return EarlyStopping("val/loss", patience=2, min_delta=100)

    uncut = fitted(data, tmp_path / "uncut", None, [stopping()])
    assert uncut[1]["epoch"].max() == 2
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=2), stopping())
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished, [stopping()]))


@pytest.mark.parametrize("best", [0, 2])
def test_the_best_epoch_is_found_again(data, best: int, tmp_path: Path) -> None:
    class Best(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val/far", float(abs(trainer.current_epoch - best)))

    def keeping() -> list[Callback]:
        return [Best(), ModelCheckpoint(monitor="val/far", mode="min", save_weights_only=True)]

    uncut = fitted(data, tmp_path / "uncut", None, keeping())
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=3), *keeping())
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished, keeping()))


def test_a_kept_epoch_that_cannot_be_read_is_removed_and_said(data, uncut, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    unfinished.folder.mkdir()
    unfinished.file(2).write_bytes(b"half a file")
    with pytest.warns(UserWarning, match=r"epoch-2.ckpt cannot be read .* the fold starts again"):
        assert same(uncut, fitted(data, tmp_path / "anew", unfinished))


def test_a_kept_epoch_loads_without_executing_anything(data, tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=2))
    assert "optimizer_states" in torch.load(unfinished.file(2), weights_only=True)


def test_processes_of_a_loader_change_nothing_of_that(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "num_workers", 1)
    uncut = fitted(data, tmp_path / "uncut")
    unfinished = Unfinished(tmp_path / "unfinished", 0)
    cut_short(data, tmp_path / "cut", unfinished, PowerCut(epoch=2))
    assert same(uncut, fitted(data, tmp_path / "cut", unfinished))


def test_all_random_generators_are_put_back() -> None:
    state = random_state()

    def drawn() -> tuple[Any, ...]:
        return random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))  # noqa: NPY002

    first = drawn()
    set_random_state(state)
    assert drawn() == first


def test_a_notice_that_someone_answers_does_not_end_the_training(data, uncut, tmp_path: Path) -> None:
    class Notice(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 0):
                os.kill(os.getpid(), signal.SIGTERM)

    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        noticed = fitted(data, tmp_path / "noticed", Unfinished(tmp_path / "unfinished", 3600), [Notice()])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert same(uncut, noticed)
