"""Environment of a computation, for the record: versions and commit. It is no part of a run's identity."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from experiment.core.identity import digest, file_digest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("experiment", "datamodules", "lightning_modules", "callbacks")
PACKAGES = ("em-granules", "torch", "torchvision", "pytorch-lightning", "scikit-learn", "numpy")


@cache
def environment() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute, the processor or GPU, and the commit of this code."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    machine = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}, {device}"}
    return {**machine, **_versions(), "commit": _commit()}


@cache
def source() -> str:
    """Return the digest of this project's code and of the versions of the packages that compute, in a checkout or not."""
    files = sorted(file for own in OWN for file in (ROOT / own).rglob("*") if file.is_file() and file.suffix != ".pyc")
    return digest([_versions(), [(file.relative_to(ROOT).as_posix(), file_digest(file)) for file in files]])


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a folder without installing it
            versions[package] = "not installed"
    return versions


def _commit() -> str:
    """Return the commit of the source, with ``+`` if files differ from it; ``unknown`` outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
