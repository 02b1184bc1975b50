"""What the CPU and GPU choose, bfloat16, decides as float32 does."""

import pytest
import torch
from pytorch_lightning import Trainer
from sklearn.metrics import balanced_accuracy_score
from tiny import BACKBONE, RESNET

from datamodules.synthetic import SyntheticDataModule
from experiment.folds import FoldScheme
from lightning_modules.resnet import ResNet


@pytest.fixture(scope="module")
def trained() -> tuple[ResNet, SyntheticDataModule]:
    """A network that tells the classes apart on images that it has not seen."""
    data = SyntheticDataModule(images=240, patients=24, difficulty=0.0, image_size=48, batch_size=16)
    data.set_split(next(iter(FoldScheme(k=2, val=0.0).split(data.load(), seed=0))))
    torch.manual_seed(0)
    settings = {**RESNET, "backbone": {**BACKBONE, "symmetries": 4}, "pooling": ["max"]}
    model = ResNet(classes=["absent", "present"], **settings)  # type: ignore[arg-type]
    trainer = Trainer(
        max_epochs=8, precision="bf16-mixed", accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model, data


def test_bfloat16_costs_no_more_than_half_a_point_of_balanced_accuracy(trained: tuple[ResNet, SyntheticDataModule]) -> None:
    model, data = trained
    data.predict_parts = ("test",)
    score = {}
    for precision in ("bf16-mixed", "32-true"):
        trainer = Trainer(precision=precision, accelerator="cpu", logger=False, enable_progress_bar=False)  # type: ignore[arg-type]
        batches = trainer.predict(model, datamodule=data)
        assert batches is not None
        ids = [sample for names, _ in batches for sample in names]  # type: ignore[union-attr]
        decided = torch.cat([p for _, p in batches]).argmax(dim=1)  # type: ignore[union-attr]
        score[precision] = balanced_accuracy_score(data.samples.select(ids)["target"], decided)
    assert score["32-true"] > 0.8, "a network that guesses would pass whatever its precision"
    assert abs(score["bf16-mixed"] - score["32-true"]) <= 0.005
