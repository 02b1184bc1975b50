"""A module of the project is renamed: runs made before are found, and load."""

import shutil
import subprocess
from pathlib import Path

import pytest
from job import ROOT, TINY, command, run_of

PACKAGES = ("experiment", "datamodules", "lightning_modules", "callbacks", "conf")


# An editable installation finds a module of the original where the copy has none of that name.
NOT_INSTALLED = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in getattr(f, '__name__', '')]"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that may be edited, as if it was not installed."""
    (tmp_path / "sitecustomize.py").write_text(NOT_INSTALLED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for script in ("train.py", "explain.py"):
        shutil.copy(ROOT / script, tmp_path)
    return tmp_path


def rename_module(checkout: Path, old: str, new: str) -> None:
    """Move a module, and everything that names it."""
    (checkout / f"{old.replace('.', '/')}.py").rename(checkout / f"{new.replace('.', '/')}.py")
    for file in [*checkout.rglob("*.py"), *checkout.rglob("*.yaml")]:
        if "runs" not in file.relative_to(checkout).parts:
            file.write_text(file.read_text().replace(f"{old}.", f"{new}.").replace(f"from {old} ", f"from {new} "))


def trained(checkout: Path) -> subprocess.CompletedProcess[str]:
    return command(checkout / "train.py", checkout, *TINY, "model=resnet", "logger=none")


def test_a_renamed_module_finds_its_runs(checkout: Path) -> None:
    before = trained(checkout)
    assert "[2/2] resnet" in before.stderr
    rename_module(checkout, "lightning_modules.resnet", "lightning_modules.fine_tuned")
    rename_module(checkout, "datamodules.synthetic", "datamodules.drawn")
    after = trained(checkout)
    assert run_of(after) == run_of(before)
    assert "/2] resnet" not in after.stderr
    assert command(checkout / "explain.py", checkout, f"run={run_of(after)}", "images=2").returncode == 0


def test_two_classes_of_one_name_do_not_share_their_runs(checkout: Path) -> None:
    run = run_of(trained(checkout))
    copied = checkout / "lightning_modules" / "copied.py"
    copied.write_text((checkout / "lightning_modules" / "resnet.py").read_text())
    yaml = checkout / "conf" / "model" / "resnet.yaml"
    yaml.write_text(yaml.read_text().replace("lightning_modules.resnet.ResNet", "lightning_modules.copied.ResNet"))
    refused = trained(checkout)
    assert refused.returncode == 1
    assert f"{run} holds folds of lightning_modules.resnet.ResNet" in refused.stderr
