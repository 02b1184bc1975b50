"""What may be removed from the folder of all runs: nothing that a remaining finished fold is built on, and nothing in work."""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from experiment.core.errors import UserError, not_allowed, one_line
from experiment.core.tables import CHECKPOINT
from experiment.store.shared import FOLDER as SHARED
from experiment.sweep.ledger import ledgers
from experiment.sweep.run_status import BAD_FILE, RunStatus

CACHES = ("images", "network")  # folders of entries, below the cache
ENTRY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Store:
    """The folder of all runs, and what in it a command is about."""

    root: Path  # folder of the runs
    cache: Path  # folder of decoded images and features
    every: Sequence[RunStatus]  # all runs
    selected: Sequence[RunStatus]  # those that may be removed, or lose their checkpoints
    before: datetime | None = None  # only what is older may be removed; None takes any age

    @property
    def in_work(self) -> bool:
        """Whether any fold is running."""
        return any(run.running for run in self.every)

    def older(self, path: Path) -> bool:
        """Return whether a file or folder was last written, or an entry of the cache last used, before the date."""
        return self.before is None or path.stat().st_mtime < self.before.timestamp()

    def free(self, runs: Sequence[RunStatus]) -> tuple[list[Path], str]:
        """Return the folders of `runs` that may be removed together, and how many may not and why."""
        old = [run for run in runs if self.before is None or run.when < self.before]
        idle = {run.path for run in old if not run.running and not run.path.is_symlink()}
        going = set(idle)
        while needed := {folder for run in self.every if run.path not in going for folder in run.built_on} & going:
            going -= needed
        left = {"in work": len(old) - len(idle), "that others are built on": len(idle) - len(going)}
        return sorted(going), ", ".join(f"{count} {why}" for why, count in left.items() if count)


@dataclass(frozen=True)
class Removal:
    """What of one kind may be removed."""

    paths: Sequence[Path]  # files and folders
    left: str = ""  # what is not removed, and why

    @property
    def megabytes(self) -> float:
        """Size of all files."""
        files = (file for path in self.paths for file in (path.rglob("*") if path.is_dir() else [path]))
        return sum(file.lstat().st_size for file in files if not file.is_dir()) / 1e6

    def remove(self) -> None:
        """Remove the files and folders.

        Raises:
            UserError: one cannot be removed.
        """
        for path in self.paths:
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"{path} cannot be removed: {error}.") from error


def removals(store: Store, kinds: str | Sequence[str]) -> dict[str, Removal]:
    """Return what of each kind may be removed.

    Raises:
        UserError: there is no such kind, or a kind needs ``before``.
    """
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in asked:
        if kind not in KINDS:
            raise not_allowed("prune", kind, KINDS)
    return {kind: KINDS[kind](store) for kind in asked}


def _features(store: Store) -> Removal:
    """Decoded images and features: no finished fold refers to them, and a job that needs them computes them."""
    if store.in_work:
        return Removal([], "all: a fold is running, which may read them")
    entries = (entry for name in CACHES for entry in sorted((store.cache / name).glob("*")) if ENTRY.fullmatch(entry.name))
    return Removal([entry for entry in entries if store.older(entry)])


def _trunks(store: Store) -> Removal:
    """Trunks below ``shared/`` that no finished fold refers to."""
    if store.in_work:
        return Removal([], "all: a fold is running, which may refer to one")
    used = {store.root / path for run in store.every for path in run.shared}
    files = sorted((store.root / SHARED).glob("*.pt"))
    return Removal([file for file in files if file not in used and store.older(file)], f"{len(used)} in use" if used else "")


def _trials(store: Store) -> Removal:
    """Runs of trials that failed or were raced out, unless completed since; the sweep's page still has the trials."""
    try:
        lost = {one.run for ledger in ledgers(store.root) for one in ledger.trials() if one.state in ("failed", "raced out")}
    except BAD_FILE as error:
        raise UserError(f"prune=trials: a sweep cannot be read ({one_line(error)}); python status.py says which.") from error
    return Removal(*store.free([run for run in store.selected if run.path.name in lost and not run.complete]))


def _checkpoints(store: Store) -> Removal:
    """Fitted models of the runs; their predictions, scores and reports stay."""
    folders, left = store.free(store.selected)
    return Removal([file for folder in folders for file in sorted(folder.glob(f"repeat-*/fold-*/{CHECKPOINT}"))], left)


def _runs(store: Store) -> Removal:
    """Whole runs from before a date."""
    if store.before is None:
        raise UserError("prune=runs needs a date; give one such as before=2026-11-01.")
    return Removal(*store.free(store.selected))


KINDS: Mapping[str, Callable[[Store], Removal]] = {
    "features": _features, "trunks": _trunks, "trials": _trials, "checkpoints": _checkpoints, "runs": _runs,
}  # fmt: skip
