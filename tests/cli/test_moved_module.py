"""A module is renamed or changed: runs of the same code are found and load, those of other code are told apart."""

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


def trained(checkout: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return command(checkout / "train.py", checkout, *TINY, "model=resnet", "logger=none", *overrides)


def test_a_renamed_module_finds_its_runs(checkout: Path) -> None:
    before = trained(checkout)
    assert "[2/2] resnet" in before.stderr
    rename_module(checkout, "lightning_modules.resnet", "lightning_modules.fine_tuned")
    rename_module(checkout, "datamodules.synthetic", "datamodules.drawn")
    after = trained(checkout)
    assert run_of(after) == run_of(before)
    assert "/2] resnet" not in after.stderr
    assert command(checkout / "explain.py", checkout, f"run={run_of(after)}", "images=2").returncode == 0


def test_other_code_of_a_model_trains_again_and_keeps_what_was_trained(checkout: Path) -> None:
    before = trained(checkout)
    layers = checkout / "lightning_modules" / "trunk.py"
    layers.write_text(layers.read_text().replace("class Trunk(", "WIDTH = 3\n\n\nclass Trunk("))
    after = trained(checkout)
    assert run_of(after) != run_of(before)
    assert run_of(before).exists()
    assert "[2/2] resnet" in after.stderr
    assert "by other code (lightning_modules.trunk) and stay in" in after.stderr
    used = trained(checkout, "reuse=always")  # either run has all folds
    assert "/2] resnet" not in used.stderr
    assert "resnet: 2 of 2 folds found" in used.stderr


def test_finished_folds_are_fitted_again_on_request(checkout: Path) -> None:
    run = run_of(trained(checkout))
    before = (run / "repeat-0/fold-0/finished.json").stat().st_mtime_ns
    again = trained(checkout, "reuse=never")
    assert run_of(again) == run
    assert "[2/2] resnet" in again.stderr
    assert (run / "repeat-0/fold-0/finished.json").stat().st_mtime_ns > before
    refused = command(checkout / "train.py", checkout, *TINY, "model=resnet", "reuse=sometimes")
    assert "reuse=sometimes is not allowed; allowed: same_code, always, never" in refused.stderr


def test_two_classes_of_one_name_do_not_share_their_runs(checkout: Path) -> None:
    run = run_of(trained(checkout))
    copied = checkout / "lightning_modules" / "copied.py"
    copied.write_text((checkout / "lightning_modules" / "resnet.py").read_text() + "\nOTHER = 1\n")
    yaml = checkout / "conf" / "model" / "resnet.yaml"
    yaml.write_text(yaml.read_text().replace("lightning_modules.resnet.ResNet", "lightning_modules.copied.ResNet"))
    assert run_of(trained(checkout)) != run
