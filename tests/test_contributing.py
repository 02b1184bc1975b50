"""What CONTRIBUTING.md tells a newcomer to do works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("experiment", "datamodules", "lightning_modules", "callbacks", "conf", "tests")

# of the suite's tests, which all pass: those that a model can fail in most ways
CHOSEN = "small_cnn-resnet and (predicted_once or without_running_code or no_test_row)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, with the model of CONTRIBUTING.md in the two files that it names."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    model, config = (
        re.search(rf"`([^`]*small_cnn\.{end})`[^`]*```{kind}\n(.*?)```", text, re.DOTALL)
        for end, kind in (("py", "python"), ("yaml", "yaml"))
    )
    for match in (model, config):
        assert match is not None
        (tmp_path / match[1]).write_text(match[2])
    return tmp_path


def test_the_model_to_copy_passes_the_contract_suite_and_the_linter(checkout: Path) -> None:
    suite = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/lightning_modules/test_contract.py"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run([*suite, "-k", CHOSEN], cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "lightning_modules/small_cnn.py"],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout
