"""Sweeps as a person types them, on tiny images: a grid, Optuna killed and taken up again, an agent of W&B."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from job import ROOT, TINY, train

# Features of a network with random weights, computed once: a trial is an SVM.
SVM = ["model=resnet_svm", "model.features_from=pretrained", "folds.k=3", "folds.val=0.2"]
QUIET = ["logger=none"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("grid")
    return folder, train(folder, "-m", *SVM, "model.svm.C=1,-1,10", "sweep.name=grid")


def trials_of(folder: Path, name: str) -> list[dict]:
    return [json.loads(file.read_text()) for file in (folder / "runs" / "sweeps" / name / "trials").glob("*.json")]


def test_a_trial_that_fails_is_told_and_the_others_are_run(grid) -> None:
    folder, done = grid
    assert done.returncode == 1
    assert "model.svm.C=-1 is not allowed" in done.stderr
    assert sorted(trial["settings"]["model.svm.C"] for trial in trials_of(folder, "grid")) == ["1", "10"]
    assert {trial["state"] for trial in trials_of(folder, "grid")} == {"complete"}


def test_the_objective_is_told_on_val_rows_and_the_sweep_has_a_page(grid) -> None:
    folder, done = grid
    for trial in trials_of(folder, "grid"):
        markers = [
            json.loads(file.read_text()) for file in (folder / "runs" / trial["run"]).glob("repeat-0/fold-*/finished.json")
        ]
        noted = sorted(value for (value,) in trial["folds"].values())
        assert noted == sorted(marker["scores"]["val"]["balanced_accuracy"] for marker in markers)
        tests = [marker["scores"]["test"]["balanced_accuracy"] for marker in markers]
        assert sorted(trial["test"].values()) == sorted(tests)
    assert "2 settings tried: 2 complete." in " ".join(done.stdout.split())


def test_each_trial_has_a_line_with_its_number_its_setting_and_its_objective(grid) -> None:
    folder, done = grid
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    values = {trial["settings"]["model.svm.C"]: np.mean(list(trial["folds"].values())) for trial in trials_of(folder, "grid")}
    # the second of three is refused
    for line, number, c in zip(lines, (1, 3), ("1", "10"), strict=True):
        assert line.startswith(f"[{number}/3] C={c}: val/balanced_accuracy {values[c]:.3f}, ")


def test_the_page_names_images_and_command_and_leads_to_the_only_report_that_of_the_best(grid) -> None:
    folder, _ = grid
    page = folder / "runs" / "sweeps" / "grid" / "report.html"
    text = page.read_text()
    assert "SyntheticDataModule; 48 images: absent 24, present 24" in text
    assert "python train.py -m data.images=48" in text
    assert "model.svm.C=1,-1,10" in text
    (link,) = re.findall(r'<a href="([^"]+)"', text)
    assert (page.parent / link).resolve() in [path.resolve() for path in (folder / "runs").glob("resnet_svm-*/report.html")]
    assert len(list((folder / "runs").glob("*/report.html"))) == 1


def test_wandb_has_one_run_a_trial_and_one_line_says_how_to_upload_them(grid) -> None:
    folder, done = grid
    written = list((folder / "runs" / "sweeps" / "grid" / "wandb").glob("offline-run-*"))
    names = {f"run-grid-{trial['run']}-summary.wandb" for trial in trials_of(folder, "grid")}
    assert {file.name for run in written for file in run.glob("*.wandb")} == names
    assert list((folder / "runs").glob("*/wandb")) == []
    (line,) = [line for line in done.stderr.splitlines() if "wandb sync" in line]
    assert line == "W&B: 2 runs written offline; upload with: wandb sync runs/sweeps/grid/wandb/offline-run-*"


def test_nothing_but_the_runs_is_left_behind(grid) -> None:
    folder, _ = grid
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_how_a_network_is_read_does_not_train_it_again(tmp_path: Path) -> None:
    """Four choices of taps and two poolings, on the fine-tuned network of each of two folds."""
    taps = "model.taps=[layer2],[layer4],[layer3,layer4],null"
    done = train(tmp_path, "-m", "model=resnet_svm", taps, "model.pooling=[mean],[max]", "logger=none", "sweep.name=taps")
    assert done.returncode == 0, done.stderr
    fits = list((tmp_path / "runs").glob("resnet-*/repeat-0/fold-*/finished.json"))
    svms = list((tmp_path / "runs").glob("resnet_svm-*/repeat-0/fold-*/finished.json"))
    assert (len(fits), len(svms)) == (2, 16)
    trained = [fit for fit in fits if "train" in json.loads(fit.read_text())["stages"]]
    assert len(trained) == 2
    # nothing of a network was written again after the first SVM on its fold
    for fit in fits:
        first = min(svm.stat().st_mtime for svm in svms if svm.parent.name == fit.parent.name)
        assert all(file.stat().st_mtime <= first for file in fit.parent.iterdir())


def test_status_names_runs_and_sweeps(grid) -> None:
    folder, _ = grid
    done = subprocess.run([sys.executable, ROOT / "status.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.count("■■■") == 2
    assert "sweep grid" in done.stdout


@pytest.mark.cluster
def test_a_study_that_is_killed_goes_on_without_losing_a_trial(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    wanted = 7
    command = [
        sys.executable, ROOT / "train.py", *TINY, "-m", "sweep=optuna", *SVM, *QUIET,
        "model.svm.C=tag(log,interval(0.01,100))", "model.svm.gamma=choice(0.1,1)", f"hydra.sweeper.n_trials={wanted}",
    ]  # fmt: skip
    storage = f"sqlite:///{tmp_path}/runs/sweeps/optuna.db"
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trials = tmp_path / "runs" / "sweeps" / "study" / "trials"
    while len(list(trials.glob("[!.]*.json"))) < 3:
        assert first.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = optuna.load_study(study_name="study", storage=storage).trials
    lost = [trial for trial in killed if trial.state.name == "RUNNING"]
    assert len(lost) == 1
    assert len(killed) < wanted

    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    after = optuna.load_study(study_name="study", storage=storage).trials
    finished = [trial for trial in after if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(finished) == wanted
    for trial in finished:  # means over the first folds, of trials that were raced out too
        assert len(trial.intermediate_values) == 3 or (trial.state.name == "PRUNED" and trial.intermediate_values)
        assert trial.value == pytest.approx(list(trial.intermediate_values.values())[-1])
    assert lost[0].params in [trial.params for trial in finished], "the settings of the killed trial were tried again"
    assert [trial.params for trial in after[: len(killed)]] == [trial.params for trial in killed]

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(optuna.load_study(study_name="study", storage=storage).trials) == len(after)
    assert "7 settings tried" in again.stdout


@pytest.mark.cluster
def test_two_processes_fill_one_study_together(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    wanted = 9
    command = [
        sys.executable, ROOT / "train.py", *TINY, "-m", "sweep=optuna", *SVM, *QUIET, "sweep.race=null",
        "model.svm.C=tag(log,interval(0.01,100))", f"hydra.sweeper.n_trials={wanted}",
    ]  # fmt: skip
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    trials = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/runs/sweeps/optuna.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * wanted
    assert len({trial.params["model.svm.C"] for trial in trials}) == wanted, "one process tried what the other had tried"
    assert len({trial.user_attrs["lease"] for trial in trials}) == 2, "one process did it all"


@pytest.mark.cluster
def test_two_objectives_are_optimised_together(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = train(
        tmp_path, "-m", "sweep=optuna", *SVM, *QUIET, "model.svm.C=interval(0.1,10)", "hydra.sweeper.n_trials=3",
        "objective=[val/auroc,seconds]", "sweep.race=null",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/runs/sweeps/optuna.db")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    ledgers = [json.loads(file.read_text()) for file in (tmp_path / "runs" / "sweeps" / "study" / "trials").glob("*.json")]
    means = [[sum(column) / len(column) for column in zip(*one["folds"].values(), strict=True)] for one in ledgers]
    np.testing.assert_allclose(sorted(means), sorted(trial.values for trial in study.trials))


def test_an_agents_run_is_the_summary_of_the_model_asked_for_and_holds_the_objective(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep123")
    monkeypatch.setenv("WANDB_RUN_ID", "trial456")
    done = train(tmp_path, *SVM, "model.svm.C=1")
    assert done.returncode == 0, done.stderr
    (agents,) = sorted((tmp_path / "runs" / "sweeps").glob("*/wandb/offline-run-*/run-*.wandb"))
    assert agents.name == "run-trial456.wandb"
    assert b"sweep123" in agents.read_bytes()
    (trial,) = [json.loads(file.read_text()) for file in (tmp_path / "runs" / "sweeps").glob("*/trials/*.json")]
    assert trial["settings"]["model.svm.C"] == "1"
    assert b"objective" in agents.read_bytes()
