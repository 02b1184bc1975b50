"""`trainer=ddp`: gradient steps of a fold in several processes."""

from pathlib import Path

import job
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from experiment.core.build import plain
from experiment.core.errors import UserError
from experiment.core.identity import digest
from experiment.run.job import prepare

DDP = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def composed(*overrides: str) -> dict[str, object]:
    with initialize_config_dir(str(job.ROOT / "conf")):
        return plain(compose("train", [*job.TINY, *overrides]))


@pytest.mark.cluster
def test_two_processes_train_a_fold_to_the_end(tmp_path: Path) -> None:
    done = job.train(
        tmp_path, *DDP, "data.batch_size=4", "trainer.max_epochs=2", "logger=csv",
        "callbacks@model.network.callbacks=best_epoch",
    )  # fmt: skip
    run = job.run_of(done)
    assert "Traceback" not in done.stderr
    for table in run.parent.glob("*/oof.parquet"):
        oof = pd.read_parquet(table)
        assert sorted(oof["sample_id"]) == sorted(pd.read_parquet(run / "samples.parquet")["sample_id"])
        assert oof["p/present"].between(0, 1).all()
    assert len(list(run.parent.glob("*/oof.parquet"))) == 3
    history = pd.read_csv(next(run.parent.glob("resnet-*/repeat-0/fold-0/history.csv")))
    assert set(history["epoch"]) == {0, 1}
    assert not list(run.parent.rglob(".*"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*DDP, "folds.parallel=2"], "folds.parallel=2 does not go with trainer=ddp, which trains fold by fold; take 1"),
        (["trainer.devices=2"], "trainer.devices=2 with trainer.strategy=auto is not allowed; allowed: ddp_spawn"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(composed(f"paths.runs={tmp_path}", *overrides), Console(quiet=True))


def test_the_number_of_processes_is_part_of_the_identity_where_gradient_steps_are_taken(tmp_path: Path) -> None:
    def identity(*overrides: str) -> str:
        _, recipe = prepare(composed(f"paths.runs={tmp_path}", "logger=none", *overrides), Console(quiet=True))
        return digest(recipe.record)

    svm = ["model=resnet_svm", "model.features_from=pretrained"]
    network = [identity("model=resnet", *ddp) for ddp in ([], DDP, [*DDP, "trainer.devices=3"])]
    assert len(set(network)) == 3
    assert identity(*svm) == identity(*svm, *DDP)
