"""Runs on disk, found again by what was run. A fold is finished when its folder stands there under its own name.

Layout::

    <root>/<name>-<digest>/             one run: one cross-validation of one model
        identity.json  config.yaml      what decides the numbers; the resolved config
        splits.parquet                  who was in fit, val and test of each fold
        repeat-0/fold-3/                model.ckpt, predictions.parquet, history.csv, finished.json
        oof.parquet  metrics.json       once all folds are finished

Beside a fold, while it is not finished: ``.fold-3.lease`` (who is at it), ``.fold-3.unfinished/`` (the last kept epoch),
``.fold-3.failed`` (why the last attempt ended).
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from experiment.core.identity import Record, digest
from experiment.core.tables import MARKER, FinishedFold, Split

IDENTITY = "identity.json"
DIGITS = 12  # of the digest, in folder names: 48 bits


@dataclass(frozen=True)
class Run:
    """The folder of one run. It comes into being with its first fold.

    Attributes:
        path: the folder.
        record: everything that decides the run's numbers.
    """

    path: Path
    record: Record

    @classmethod
    def of(cls, root: Path, name: str, record: Record) -> "Run":
        """The run with this identity below `root`."""
        return cls(root / f"{name}-{digest(record)[:DIGITS]}", record)

    @property
    def name(self) -> str:
        """Folder name: model name and digest."""
        return self.path.name

    def fold(self, split: Split) -> FinishedFold | None:
        """The finished fold, or None."""
        path = self.path / split.name
        return FinishedFold(path) if (path / MARKER).exists() else None

    def beside(self, split: Split, what: Literal["lease", "unfinished", "failed"]) -> Path:
        """Where something about a fold lies while it is not finished."""
        final = self.path / split.name
        return final.with_name(f".{final.name}.{what}")

    def remove_half_written(self, split: Split) -> None:
        """Remove what killed processes have left of a fold. Only for who holds its lease: nobody else writes there now."""
        final = self.path / split.name
        for left in final.parent.glob(f".{final.name}.*"):
            if re.fullmatch(r"[0-9a-f]{8}", left.name.rpartition(".")[2]):
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def writing(self, split: Split, marker: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to write a fold into, put in its place with its marker when the block ends without an error.

        `marker` may be filled inside the block. If another process has finished the same fold meanwhile, its result
        stays and this one is dropped: both hold the same numbers.
        """
        final = self.path / split.name
        if not (self.path / IDENTITY).exists():
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(IDENTITY, json.dumps(self.record, indent=2, sort_keys=True))
        beside = final.parent / f".{final.name}.{uuid.uuid4().hex[:8]}"
        beside.mkdir(parents=True)
        try:
            yield beside
            (beside / MARKER).write_text(json.dumps(marker, indent=2))
            if final.exists() and not (final / MARKER).exists():
                final.rename(final.parent / f".{final.name}.{uuid.uuid4().hex[:8]}")  # unfinished: out of the way
            try:
                beside.rename(final)
            except OSError:
                if not (final / MARKER).exists():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the run at once or not at all."""
        with self.replacing(name) as beside:
            beside.write_text(text)

    def write_once(self, name: str, table: pd.DataFrame) -> None:
        """Write a table of the run if it is not there yet."""
        if not (self.path / name).exists():
            with self.replacing(name) as beside:
                table.to_parquet(beside, index=False)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A path to write to, which takes the place of the run's file `name` when the block ends without an error."""
        beside = self.path / f".{name}.{uuid.uuid4().hex[:8]}"
        try:
            yield beside
            os.replace(beside, self.path / name)
        finally:
            beside.unlink(missing_ok=True)
