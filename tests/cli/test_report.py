"""`report.py` as a person types it, on the runs of a tiny job."""

import json
import shutil
import subprocess
from pathlib import Path

import job
import pandas as pd
import pytest


def report(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return job.command("report.py", folder, *arguments)


def member(ensemble: Path, name: str) -> Path:
    (found,) = (path for path in ensemble.parent.iterdir() if path.name.rsplit("-", 2)[0] == name)
    return found


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a wrong command ends with."""
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_a_job_leaves_a_report_and_the_command_writes_it_again(finished_job: Path) -> None:
    pages = [finished_job / name for name in ("report.html", "report.md", "evidence.json")]
    before = [page.read_text() for page in pages]
    for page in pages:
        page.unlink()
    done = report(finished_job.parent, f"run={finished_job.name}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"report: {pages[0]}\n"
    assert [page.read_text() for page in pages] == before


def test_the_report_says_what_the_files_say(finished_job: Path, tmp_path: Path) -> None:
    report(tmp_path, f"run={finished_job}", "out=written")
    stored = json.loads((tmp_path / "written" / "evidence.json").read_text())
    assert list(stored["models"]) == ["resnet", "resnet_svm", "ensemble"]
    for title, found in stored["models"].items():
        scores = json.loads((member(finished_job, title) / "metrics.json").read_text())
        for name, metric in found["metrics"].items():
            assert metric == pytest.approx({of: scores[name][of] for of in ("value", "low", "high")})
    assert [path.name for path in tmp_path.iterdir()] == ["written"]


def test_runs_can_be_compared_and_all_are_on_the_page(finished_job: Path) -> None:
    folder = finished_job.parent
    before = {path.name for path in folder.iterdir()}
    names = [member(finished_job, name).name for name in ("resnet_svm", "resnet")]
    done = report(folder, f"run=[{','.join(names)}]")
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.removeprefix("report: ").strip())
    assert {path.name for path in folder.iterdir()} - before == {page.parent.name}
    assert page.parent.name.startswith("comparison-")
    stored = json.loads((page.parent / "evidence.json").read_text())
    assert list(stored["models"]) == ["resnet_svm", "resnet"]
    assert "<title>resnet_svm and resnet</title>" in page.read_text()


def test_a_folder_without_a_run_is_named(finished_job: Path) -> None:
    assert "nowhere is not a complete run" in refused(report(finished_job.parent, "run=nowhere"))


def test_a_run_named_twice_is_refused(finished_job: Path) -> None:
    line = refused(report(finished_job.parent, f"run=[{finished_job.name},./{finished_job.name}]"))
    assert "names a run twice" in line


def test_runs_of_other_images_are_refused_and_some_are_named(finished_job: Path, tmp_path: Path) -> None:
    other = shutil.copytree(member(finished_job, "resnet"), tmp_path / "resnet-other")
    oof = pd.read_parquet(other / "oof.parquet")
    oof.iloc[1:].to_parquet(other / "oof.parquet")
    line = refused(report(tmp_path, f"run=[{finished_job},{other}]"))
    assert line.endswith(f"{oof['sample_id'].iloc[0]}.")
    assert list(tmp_path.iterdir()) == [other]


def test_no_run_says_how_to_name_one(tmp_path: Path) -> None:
    assert "run is not set; give it with run=VALUE." in refused(report(tmp_path))
    assert list(tmp_path.iterdir()) == []
