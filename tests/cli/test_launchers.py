"""Launchers: one command on one machine and on a cluster."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.types import RunMode
from job import train
from omegaconf import OmegaConf

from experiment.core.errors import UserError
from experiment.run.cluster import enter_job, granted, share_code
from experiment.run.cores import GRANTED

CONF = Path(__file__).resolve().parents[2] / "conf"
LAUNCHERS = sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml"))


def launcher(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF)):
        composed = compose("train", [f"hydra/launcher={name}", "paths.runs=elsewhere", *overrides], return_hydra_config=True)
    assert composed.hydra.sweep.dir == "elsewhere/hydra"
    node = composed.hydra.launcher
    return {key: node[key] for key in node}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_each_launcher_has_every_option_of_its_plugin(name: str) -> None:
    package = f"hydra_plugins.hydra_{name.partition('_')[0]}_launcher"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[cluster]'")
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()
    plugin = OmegaConf.create(ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node)
    ours = launcher(name)
    assert set(plugin) <= set(ours)
    assert ours["_target_"] == plugin["_target_"]


def test_jobs_files_lie_below_the_runs() -> None:
    assert launcher("submitit_slurm")["submitit_folder"] == "elsewhere/hydra/slurm/%j"
    assert launcher("submitit_local")["submitit_folder"] == "elsewhere/hydra/local/%j"


@pytest.mark.parametrize(
    ("name", "overrides", "share"),
    [
        ("joblib", ["hydra.launcher.n_jobs=3"], 5),
        ("joblib", ["hydra.launcher.n_jobs=-1"], 1),
        ("joblib", ["hydra.launcher.n_jobs=40"], 1),
        ("submitit_slurm", ["hydra.launcher.cpus_per_task=8"], 8),
        ("submitit_local", [], 1),
        ("ray", ["hydra.launcher.ray.remote.num_cpus=4"], 4),
        ("basic", [], None),
    ],
)
def test_a_job_takes_the_cores_that_its_launcher_gives_it(
    name: str, overrides: list[str], share: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiment.run.cluster.cores", lambda: 16)
    assert granted(launcher(name, *overrides)) == share


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """In a job of a multirun whose command was typed in some folder."""
    from hydra.core.hydra_config import HydraConfig

    def started(folder: Path, launcher: str = "submitit_local") -> None:
        with initialize_config_dir(str(CONF)):
            composed = compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True)
        OmegaConf.set_readonly(composed.hydra, False)
        composed.hydra.mode = RunMode.MULTIRUN
        composed.hydra.runtime.cwd = str(folder)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)

    monkeypatch.setenv(GRANTED, "")
    return started


def test_relative_paths_mean_what_they_meant_where_the_command_was_typed(
    inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, worker = tmp_path / "typed", tmp_path / "worker"
    typed.mkdir()
    worker.mkdir()
    monkeypatch.chdir(worker)
    inside(typed)
    enter_job()
    assert Path.cwd() == typed
    assert os.environ[GRANTED] == "1"


def test_a_process_that_does_one_job_after_the_other_shares_its_cores_once(
    inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiment.run.cluster.cores", lambda: int(os.environ.get(GRANTED) or 16))
    inside(tmp_path, "joblib")
    for _ in range(2):
        monkeypatch.chdir(tmp_path)
        enter_job()
        assert os.environ[GRANTED] == "8"


def test_a_machine_that_does_not_see_the_folder_says_so(inside: Any, tmp_path: Path) -> None:
    inside(tmp_path / "elsewhere")
    with pytest.raises(
        UserError, match=r"which this machine does not see \(No such file or directory\); type the command in a"
    ):
        enter_job()


def test_the_code_is_found_by_processes_that_are_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/already")
    share_code(Path("/project"))
    share_code(Path("/project"))
    assert os.environ["PYTHONPATH"] == f"/project{os.pathsep}/already"


def test_a_launcher_that_is_not_installed_is_told_with_the_way_out(tmp_path: Path) -> None:
    done = train(tmp_path, "-m", "seed=0", "hydra/launcher=joblib", "hydra.launcher._target_=hydra_plugins.absent.Launcher")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "'hydra_plugins.absent.Launcher'. It is not installed; pip install -e '.[cluster]' brings the launchers."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("no submitit: pip install -e '.[cluster]'")
    done = train(
        tmp_path, "-m", "model=resnet_svm", "model.features_from=pretrained", "model.svm.inner_folds=1,2", "logger=none",
        "folds.only=[0]", "hydra/launcher=joblib",
    )  # fmt: skip
    assert done.returncode == 1
    assert "failed: " in done.stderr
    assert "model.svm.inner_folds=1" in next(line for line in done.stderr.splitlines() if line.startswith("job 0 ("))
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "runs").glob("resnet_svm-*/repeat-0/fold-0"))) == 1
