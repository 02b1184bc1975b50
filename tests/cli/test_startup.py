"""What a command imports and computes before it answers: seconds depend on the machine, so modules and calls are looked at."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import job
import pytest

HEAVY = {
    "torch",
    "pytorch_lightning",
    "torchmetrics",
    "torchvision",
    "pandas",
    "sklearn",
    "scipy",
    "matplotlib",
    "wandb",
    "captum",
}
LIGHTNING = {"torch", "pytorch_lightning", "torchmetrics", "torchvision", "wandb", "captum"}


def imported(script: str, folder: Path, *arguments: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """The packages that a command has imported when it ends, and the command."""
    record = folder / "imported.json"
    watched = (
        "import json, pathlib, runpy, sys\n"
        f"sys.argv = {[str(job.ROOT / script), *arguments]!r}\n"
        f"sys.path.insert(0, {str(job.ROOT)!r})\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n"
        f"    pathlib.Path({str(record)!r}).write_text(json.dumps([*sys.modules]))\n"
    )
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", watched], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    modules = json.loads(record.read_text())
    record.unlink()
    return {module.partition(".")[0] for module in modules}, done


@pytest.mark.parametrize(
    ("script", "argument"),
    [
        ("train.py", "--help"),
        ("report.py", "--help"),
        ("explain.py", "--help"),
        ("train.py", "model.learning_rate=1"),
        ("train.py", "data=folders"),
        ("train.py", "data=folder"),  # data.root is not given
        ("report.py", "runs=here"),
    ],
)
def test_help_and_wrong_keys_need_nothing_heavy(tmp_path: Path, script: str, argument: str) -> None:
    modules, done = imported(script, tmp_path, argument)
    assert done.returncode == (0 if argument == "--help" else 1), done.stderr
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("header", "override", "message"),
    [("image;label", "data.root=missing", "data.root=missing is not a folder"), ("a,b", "data.root=.", "no column 'image'")],
)
def test_a_wrong_folder_or_header_needs_nothing_heavy(tmp_path: Path, header: str, override: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(f"{header}\n1,2\n")
    modules, done = imported("train.py", tmp_path, "data=folder", override)
    assert done.returncode == 1
    assert message in done.stderr
    assert not modules & HEAVY


def test_wrong_folds_are_refused_without_lightning(tmp_path: Path) -> None:
    modules, done = imported("train.py", tmp_path, "folds.k=1")
    assert "folds.k=1 is not allowed" in done.stderr
    assert not modules & LIGHTNING


@pytest.fixture(scope="module")
def own(finished_job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished job's folder, and in it the run of its ensemble."""
    folder = tmp_path_factory.mktemp("again") / "job"
    shutil.copytree(finished_job.parents[1], folder)
    return folder / "runs" / finished_job.name


def test_a_report_is_written_again_without_lightning_and_is_the_same(own: Path) -> None:
    before = {file.name: file.read_text() for file in own.iterdir() if file.suffix in (".html", ".md", ".json")}
    (own / "report.html").unlink()
    modules, done = imported("report.py", own.parent, f"run={own}")
    assert done.returncode == 0, done.stderr
    assert not modules & LIGHTNING
    assert {name: (own / name).read_text() for name in before} == before


def test_another_table_is_not_told_with_the_numbers_of_before(own: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(own.parent, tmp_path / "runs")
    before = json.loads((runs / own.name / "evidence.json").read_text())
    (runs / own.name / "oof.parquet").write_bytes((next(runs.glob("resnet-*")) / "oof.parquet").read_bytes())
    done = job.command("report.py", tmp_path, f"run={runs / own.name}")
    assert done.returncode == 0, done.stderr
    after = json.loads((runs / own.name / "evidence.json").read_text())
    assert after["made_from"] != before["made_from"]
    assert after["models"]["ensemble"] == after["models"]["resnet"]
