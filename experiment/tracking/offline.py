"""W&B runs that were written offline, and the command that uploads them."""

import shlex
from collections.abc import Iterable
from pathlib import Path


def upload_command(folders: Iterable[Path], since: float) -> str | None:
    """Return the line that says how to upload the W&B runs of these folders; None if none is newer than `since` (seconds)."""
    count, paths = 0, []
    for folder in dict.fromkeys(folder / "wandb" for folder in folders):
        runs = [run for run in folder.glob("offline-run-*") if run.stat().st_mtime >= since]  # of all processes of the job
        count += len(runs)
        if runs:
            where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
            paths.append(f"{shlex.quote(str(where))}/offline-run-*")
    if not paths:
        return None
    return f"W&B: {count} run{'s' if count > 1 else ''} written offline; upload with: wandb sync {' '.join(paths)}"
