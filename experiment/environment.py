"""What the numbers were made with, for the record: versions and commit. It is no part of the identity."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("em-granules", "torch", "torchvision", "pytorch-lightning", "scikit-learn", "numpy")


@cache
def environment() -> dict[str, str]:
    """Versions of python and of the packages that compute, the commit of this code, and the processor or GPU."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}, {_device()}"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder that was never installed
            found[package] = "not installed"
    return {**found, "commit": _commit()}


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} threads"


def _commit() -> str:
    """Commit of the source, ``+`` where it was changed since; ``unknown`` outside a checkout."""
    here = Path(__file__).resolve().parent.parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed.strip() else "")
