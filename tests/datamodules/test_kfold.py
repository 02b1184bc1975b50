"""A data module that a plain Trainer uses, without the engine."""

import subprocess
import sys
from pathlib import Path

import job
import pytest
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console

from datamodules.synthetic import SyntheticDataModule
from experiment.core.build import plain
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme
from experiment.run.job import prepare

SMALL = {"images": 48, "patients": 12, "difficulty": 0.0, "image_size": 32, "batch_size": 4, "k": 3, "val": 0.3}


class Watcher(LightningModule):
    """Learns nothing, and remembers which samples each epoch trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs: list[list[str]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch, batch_idx):  # type: ignore[no-untyped-def]
        self.epochs[-1] += batch["sample_id"]
        return self.weight * 0

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(tmp_path: Path, **options: object) -> list[list[str]]:
    model = Watcher()
    Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,  # type: ignore[arg-type]
    ).fit(model, SyntheticDataModule(**SMALL))  # type: ignore[arg-type]
    return model.epochs


@pytest.mark.parametrize(("fold", "seed"), [(0, 0), (2, 0), (1, 7)])
def test_setup_takes_the_fold_that_a_command_with_the_same_settings_has(fold: int, seed: int) -> None:
    data = SyntheticDataModule(**SMALL, fold=fold, fold_seed=seed)  # type: ignore[arg-type]
    data.setup("fit")
    assert data.split == list(FoldScheme(k=3, val=0.3).split(data.samples, seed))[fold]
    assert [sample for batch in data.test_dataloader() for sample in batch["sample_id"]] == list(data.split.test)


def test_setup_leaves_a_chosen_fold_alone(tiny_data: SyntheticDataModule, tiny_splits) -> None:
    last, samples = list(tiny_splits)[-1], tiny_data.samples
    tiny_data.set_split(last)
    tiny_data.setup("fit")
    assert tiny_data.split is last
    assert tiny_data.samples is samples


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"])
def test_a_loader_before_setup_says_what_is_missing(loader: str) -> None:
    data = SyntheticDataModule(**SMALL)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no split yet; call setup\(\), or set_split\(\)"):
        getattr(data, loader)()
    with pytest.raises(UserError, match=r"no samples yet; call setup\(\), or load\(\)"):
        data.rows_loader(["patient-000/000"])


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"folds.only=\[3\] is not allowed; name folds from 0 to 2"):
        SyntheticDataModule(**SMALL, fold=3)  # type: ignore[arg-type]


def test_its_settings_are_hyper_parameters() -> None:
    data = SyntheticDataModule(**SMALL)  # type: ignore[arg-type]
    assert {key: data.hparams[key] for key in SMALL} == SMALL


def test_overfitting_takes_the_same_batches_in_each_epoch(tmp_path: Path) -> None:
    first, *later = trained(tmp_path, overfit_batches=2)
    assert len(first) == 2 * SMALL["batch_size"]
    assert later == [first, first]
    one, two, _ = trained(tmp_path, limit_train_batches=2)
    assert one != two, "without it each epoch has its own order"


@pytest.mark.parametrize(("key", "instead"), [("k=3", "folds.k"), ("fold=1", "folds.only"), ("fold_seed=1", "seed")])
def test_a_command_has_its_own_keys_for_the_fold(tmp_path: Path, key: str, instead: str) -> None:
    with initialize_config_dir(str(job.ROOT / "conf")):
        config = plain(compose("train", [*job.TINY, f"paths.runs={tmp_path}", f"+data.{key}"]))
    with pytest.raises(UserError, match=f"data.{key[:-2]} chooses a fold in plain Lightning; in a command take {instead}"):
        prepare(config, Console(quiet=True))


@pytest.mark.cluster
def test_two_processes_of_a_plain_trainer_share_the_rows(tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(f"""
import sys
sys.path[:0] = [{str(job.ROOT)!r}]
from pytorch_lightning import Trainer
from datamodules.synthetic import SyntheticDataModule
from lightning_modules.resnet import ResNet

class Watched(ResNet):
    def training_step(self, batch, batch_idx):
        with open(f"seen-{{self.global_rank}}", "a") as file:
            print(*batch["sample_id"], sep="\\n", file=file)
        return super().training_step(batch, batch_idx)

data = SyntheticDataModule(**{SMALL!r})
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False, enable_checkpointing=False)
trainer.fit(Watched(["absent", "present"], symmetries=1), data)
trainer.test(datamodule=data, model=trainer.lightning_module)
""")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = [(tmp_path / f"seen-{rank}").read_text().split() for rank in range(2)]
    assert not set(seen[0]) & set(seen[1])
    assert "test/auroc" in done.stdout
