"""Commands as a person types them, on tiny images."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "data.images=48", "data.patients=12", "data.image_size=32", "data.batch_size=8", "data.difficulty=0",
    "folds.k=2", "folds.val=0.3", "trainer=cpu", "trainer.max_epochs=1",
    "folds.parallel=1",  # new processes cost more than such a job
]  # fmt: skip


def command(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project from within `folder`."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return subprocess.run(
        [sys.executable, ROOT / script, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def train(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """``python train.py`` with the smallest settings that train, and these."""
    return command("train.py", folder, *TINY, *overrides)


def run_of(done: subprocess.CompletedProcess[str]) -> Path:
    """The folder that the command printed."""
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1].removeprefix("run: "))
