"""`train.py` as a person types it, on tiny images."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from job import train

SIDE_BY_SIDE = "folds.parallel=2"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("job")
    return folder, train(folder, SIDE_BY_SIDE)


def test_the_default_job_ends_with_a_table_of_three_models_and_its_run(first) -> None:
    folder, done = first
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("run: ")
    run = Path(lines[-1].removeprefix("run: "))
    assert run.parent == folder / "runs"
    table = done.stdout
    assert all(name in table for name in ("resnet ", "resnet_svm", "ensemble", "BalAcc", "AUROC", "Brier"))
    assert {path.name for path in run.iterdir()} == {
        "bootstrap.npz", "config.yaml", "evidence.json", "identity.json", "metrics.json", "oof.parquet", "repeat-0",
        "report.html", "report.md", "samples.parquet", "shown.json", "splits.parquet", "thumbnails.json", "wandb",
    }  # fmt: skip


def test_the_table_says_what_the_files_say(first) -> None:
    _, done = first
    run = Path(done.stdout.splitlines()[-1].removeprefix("run: "))
    scores = json.loads((run / "metrics.json").read_text())
    oof = pd.read_parquet(run / "oof.parquet")
    decided = oof[["p/absent", "p/present"]].idxmax(axis=1).str.removeprefix("p/")
    assert scores["accuracy"]["value"] == pytest.approx((decided == oof["target"]).mean())
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("ensemble"))
    assert f"{scores['balanced_accuracy']['value']:.3f}" in row.split()


def test_what_was_read_and_how_it_is_split_is_said(first) -> None:
    _, done = first
    assert "48 images: absent 24, present 24; positive class: present (data.positive); 12 groups" in done.stderr
    assert "2 folds, by group" in done.stderr


def test_wandb_gets_one_run_a_fold_and_one_summary_for_each_model(first) -> None:
    folder, done = first
    runs = sorted(path.name.split("-", 3)[-1] for path in folder.glob("runs/*/wandb/offline-run-*"))
    assert len(runs) == 3 * (2 + 1)
    assert sum(name.endswith("-summary") for name in runs) == 3
    (upload,) = [line for line in done.stderr.splitlines() if "wandb sync" in line]
    paths = upload.rpartition("wandb sync ")[2].split()
    assert sorted(path for pattern in paths for path in folder.glob(pattern)) == sorted(
        folder.glob("runs/*/wandb/offline-run-*")
    )
    assert not (folder / "wandb").exists()


def test_again_it_trains_nothing_and_says_the_same(first) -> None:
    folder, done = first
    again = train(folder, SIDE_BY_SIDE)
    assert again.stdout == done.stdout
    assert "fold-0:" not in again.stderr
    assert len(list(folder.glob("runs/*/wandb/offline-run-*"))) == 9


def test_nothing_but_the_runs_is_left_behind(first) -> None:
    folder, _ = first
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_one_batch_of_each_model_runs_and_leaves_nothing(tmp_path: Path) -> None:
    done = train(tmp_path, "debug=fdr", "logger=csv", "folds.only=[1]")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("it runs: resnet, resnet_svm, ensemble on one batch of repeat-0/fold-1.")
    assert "training_step" not in done.stderr  # of the SVM, which takes no steps
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_runs_every_combination_and_shares_the_network(tmp_path: Path) -> None:
    done = train(tmp_path, "-m", "model=resnet_svm", "model.svm.C=0.1,10", "logger=csv", "folds.only=[0]")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    assert sorted(path.name.rsplit("-", 2)[0] for path in runs.glob("resnet*")) == ["resnet", "resnet_svm", "resnet_svm"]
    assert len(list((runs / "cache" / "network").iterdir())) == 3  # fit, val and test: both trials read the same features
    network, *svms = sorted(runs.glob("*/repeat-0/fold-0/finished.json"), key=lambda path: path.stat().st_mtime)
    assert network.parents[2].name.startswith("resnet-")  # trained once, before both: a second training would be the newest
    assert len(svms) == 2
