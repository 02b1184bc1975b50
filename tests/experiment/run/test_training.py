from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from tiny import RESNET, TRAINER

from datamodules.synthetic import SyntheticDataModule
from experiment.core.folds import Splits
from experiment.core.identity import NOT_IDENTITY
from experiment.core.tables import Split
from experiment.run.training import fit, make_callbacks, make_trainer, predict
from lightning_modules.resnet import ResNet

MONITOR = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/loss"}


@pytest.fixture
def split(tiny_data: SyntheticDataModule, tiny_splits: Splits) -> Split:
    first = next(iter(tiny_splits))
    tiny_data.set_split(first)
    return first


def network() -> ResNet:
    torch.manual_seed(0)
    return ResNet(classes=["absent", "present"], **RESNET)  # type: ignore[arg-type]


def test_a_fit_leaves_a_checkpoint_and_curves_and_nothing_else(tiny_data, split: Split, tmp_path: Path) -> None:
    callbacks = [ModelCheckpoint(monitor="val/loss", save_weights_only=True)]
    fit(network(), tiny_data, TRAINER, callbacks, [], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "model.ckpt"]
    curves = pd.read_csv(tmp_path / "history.csv")
    assert {"epoch", "train/loss", "val/loss", "val/auroc", "val/balanced_accuracy"} <= set(curves.columns)
    assert curves["epoch"].tolist() == [0, 1]
    assert curves.notna().all(axis=None)
    assert "optimizer_states" not in torch.load(tmp_path / "model.ckpt", weights_only=True)


def test_the_best_epoch_is_kept_not_the_last(tiny_data, split: Split, tmp_path: Path) -> None:
    class Worse(ResNet):
        """Its val loss rises from epoch to epoch, and it remembers its weights after the first."""

        def on_validation_epoch_end(self) -> None:
            self.log("val/rising", float(self.current_epoch))
            if self.current_epoch == 0:
                self.first = {name: value.clone() for name, value in self.state_dict().items()}

    torch.manual_seed(0)
    model = Worse(classes=["absent", "present"], **RESNET)  # type: ignore[arg-type]
    callbacks = [ModelCheckpoint(monitor="val/rising", mode="min", save_weights_only=True)]
    fit(model, tiny_data, TRAINER, callbacks, [], tmp_path)
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["head.weight"], model.first["head.weight"])


def test_without_val_rows_nothing_monitors_them(tiny_data, split: Split, tmp_path: Path) -> None:
    tiny_data.set_split(Split(0, 0, fit=split.fit + split.val, val=(), test=split.test))
    assert make_callbacks({"stop": MONITOR}, has_val=False) == []
    assert isinstance(make_callbacks({"stop": MONITOR}, has_val=True)[0], EarlyStopping)
    model = network()
    fit(model, tiny_data, TRAINER, [], [], tmp_path)
    assert set(predict(model, tiny_data, TRAINER, [], tmp_path)["part"]) == {"test"}


def test_predictions_are_complete_whatever_shortens_the_fit(tiny_data, split: Split, tmp_path: Path) -> None:
    model = network()
    short = {**TRAINER, "fast_dev_run": True}
    fit(model, tiny_data, short, [], [], tmp_path)
    table = predict(model, tiny_data, short, [], tmp_path)
    assert sorted(table.query("part == 'test'")["sample_id"]) == sorted(split.test)
    assert sorted(table.query("part == 'val'")["sample_id"]) == sorted(split.val)


@pytest.mark.parametrize(("precision", "expected"), [("32-true", "32-true"), ("bf16-mixed", "bf16-mixed")])
def test_a_given_precision_is_taken_as_it_is(precision: str, expected: str) -> None:
    assert make_trainer({**TRAINER, "precision": precision}, logger=False).precision == expected


def test_automatic_precision_is_what_the_cpu_does_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (({"avx512_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert make_trainer({**TRAINER, "precision": "auto"}, logger=False).precision == expected


def test_the_one_task_of_a_slurm_job_is_a_process_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_ID": 17, "NTASKS": 1, "NTASKS_PER_NODE": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = make_trainer(TRAINER, logger=False, enable_checkpointing=False)
    # Otherwise it would requeue the job on a signal of its own, and refuse to use two devices.
    assert not isinstance(trainer._accelerator_connector.cluster_environment, SLURMEnvironment)


def test_options_that_are_no_part_of_the_identity_change_no_number(tiny_data, split: Split, tmp_path: Path) -> None:
    others = {
        "devices": "auto", "num_nodes": 1, "strategy": "auto", "default_root_dir": str(tmp_path / "elsewhere"),
        "log_every_n_steps": 1, "profiler": "simple", "enable_progress_bar": True, "enable_model_summary": True,
        "limit_predict_batches": 1, "limit_test_batches": 1, "enable_autolog_hparams": False, "model_registry": None,
    }  # fmt: skip
    assert set(others) == set(NOT_IDENTITY["trainer"]) - {"accelerator"}
    tables = []
    for name, options in (("plain", {}), ("with_options", others)):
        (tmp_path / name).mkdir()
        config, model = {**TRAINER, **options}, network()
        torch.manual_seed(1)
        fit(model, tiny_data, config, [], [], tmp_path / name)
        tables.append(predict(model, tiny_data, config, [], tmp_path / name))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
