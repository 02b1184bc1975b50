"""Two processes that share each fold give the numbers of one; 45 and 151 images cannot be divided evenly."""

from pathlib import Path

import job
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from experiment.core import ranks
from experiment.core.build import plain
from experiment.core.errors import UserError
from experiment.run.job import prepare

DDP = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
EXACT = ["trainer.precision=32-true", "logger=csv"]
TRAINED = ["data.images=45", "trainer.max_epochs=2", "callbacks@model.network.callbacks=best_epoch"]
# 151 images are two blocks of features, and without a cache the processes must send them to each other.
FROZEN = ["data.images=151", "model=resnet_svm", "model.features_from=pretrained", "paths.cache_gb=0"]


def tables(runs: Path) -> dict[str, pd.DataFrame]:
    """Out-of-fold tables by run folder."""
    return {path.parent.name: pd.read_parquet(path) for path in sorted(runs.glob("*/oof.parquet"))}


def in_one_process(folder: Path, *overrides: str) -> dict[str, pd.DataFrame]:
    """The same job without other processes, here."""
    config = composed(f"paths.runs={folder}", *overrides)
    with Path("/dev/null").open("w") as nowhere:
        validation, recipe = prepare(config, Console(file=nowhere))
        validation.run(recipe)
    return tables(folder)


def composed(*overrides: str) -> dict[str, object]:
    with initialize_config_dir(str(job.ROOT / "conf")):
        return plain(compose("train", [*job.TINY, *overrides]))


def same_rows(one: dict[str, pd.DataFrame], two: dict[str, pd.DataFrame], tolerance: float) -> None:
    """The same runs, by identity; every row once, in the same order, with the same probabilities."""
    assert one.keys() == two.keys()
    for run, table in one.items():
        assert not two[run].duplicated(["repeat", "sample_id"]).any()
        keys = ["repeat", "fold", "sample_id"]
        pd.testing.assert_frame_equal(table[keys], two[run][keys])
        far = (table["p/present"] - two[run]["p/present"]).abs().max()
        assert far < tolerance, f"{run}: {far}"


@pytest.mark.cluster
def test_trained_in_two_processes_the_models_are_those_of_one(tmp_path: Path) -> None:
    done = job.train(tmp_path, *EXACT, *TRAINED, *DDP)
    assert done.returncode == 0, done.stderr
    # AdamW's first steps have the size of the rate whatever the gradient, so rounding of tiny gradients is enlarged.
    same_rows(in_one_process(tmp_path / "one", *EXACT, *TRAINED), tables(tmp_path / "runs"), tolerance=0.02)
    assert done.stdout.count("run: ") == 1
    assert done.stdout.count("out of fold") == 1
    assert done.stderr.count("resnet repeat-0/fold-0:") == 1
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "runs").rglob(".*"))  # nobody wrote where only the first does
    assert len(list((tmp_path / "runs").rglob("csv/summary.csv"))) == 3
    histories = [next(f.rglob("resnet-*/repeat-0/fold-1/history.csv")) for f in (tmp_path / "one", tmp_path / "runs")]
    one, two = map(pd.read_csv, histories)
    pd.testing.assert_frame_equal(one, two, atol=0.02, rtol=0)  # the same steps, and the loss over all val rows


@pytest.mark.cluster
def test_an_svm_on_features_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    done = job.train(tmp_path, *EXACT, *FROZEN, *DDP)
    assert done.returncode == 0, done.stderr
    same_rows(in_one_process(tmp_path / "one", *EXACT, *FROZEN), tables(tmp_path / "runs"), tolerance=1e-5)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [*DDP, "data.batch_size=9"],
            "data.batch_size=9 is the whole batch, which 2 processes cannot divide; take a multiple of 2",
        ),
        ([*DDP, "folds.parallel=2"], "folds.parallel=2 does not go with trainer=ddp"),
        (["trainer.devices=2"], "trainer.devices=2 with trainer.strategy=auto is not allowed; allowed: ddp"),
    ],
)
def test_what_would_give_other_numbers_is_refused(tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        prepare(composed(f"paths.runs={tmp_path}", *overrides), Console())
    assert ranks.is_first()
