"""Rows that are costly to compute, stored on disk: decoded images, skip features, activations of frozen layers.

An entry holds one array of rows, named by the digest of everything that decides its numbers, in blocks of some rows: several
processes fill an entry together, each computing blocks that no other has locked, and the blocks of a killed process stay.
A block is renamed when it is whole, so what is read is a header and a length; a file that fails is computed again. Blocks are
memory-mapped, so an entry may be larger than memory. Entries used longest ago are removed when all exceed the size limit.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from experiment.core.errors import UserError
from experiment.core.identity import digest
from experiment.store.files import replacing

FORMAT = 3  # of entries: raise it when the meaning of stored numbers changes
BLOCK = 128  # rows: small enough that two processes share an entry of some hundred rows evenly
POLL = 0.05  # seconds between looks at blocks that other processes compute

Rows = NDArray[Any]
Fill = Callable[[range], Rows]


class Blocks(Sequence[Rows]):
    """The rows of an entry. Reading one touches only its part of the file."""

    def __init__(self, blocks: Sequence[Rows]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __getitem__(self, row: Any) -> Any:
        return self.blocks[row // BLOCK][row % BLOCK]

    def columns(self, chosen: Sequence[int]) -> Rows:
        """Return these columns of all rows, in memory."""
        return np.concatenate([block[:, chosen] for block in self.blocks])


@dataclass(frozen=True)
class DiskCache:
    """A folder of entries."""

    folder: Path  # where they are stored
    gigabytes: float  # size limit of all entries together; 0 stores none
    setting: str  # config key of `gigabytes`, for messages

    def __post_init__(self) -> None:
        if self.gigabytes < 0:
            raise UserError(f"{self.setting}={self.gigabytes} is not allowed; take 0 (keep none) or more.")

    def get(self, described: Mapping[str, Any], rows: int, fill: Fill) -> Blocks | None:
        """Return the entry with this description, computing its missing blocks; None if it is larger than the limit.

        `described` is everything that decides the numbers, as plain values. `fill` returns the rows of a range of row numbers,
        (len(range), ...), of a type that needs no pickling.
        """
        if self.gigabytes == 0:
            return None
        entry = self.folder / digest({"format": FORMAT, **described})
        entry.mkdir(parents=True, exist_ok=True)
        os.utime(entry)  # used now
        blocks: dict[int, Rows] = {}
        wrote = False
        while missing := [block for block in _ranges(rows) if block.start not in blocks]:
            for block in missing:
                path = entry / f"{block.start:09d}.npy"
                stored = _read(path, len(block))
                if stored is None:
                    try:
                        with FileLock(path.with_suffix(".lock"), timeout=0):
                            stored = _read(path, len(block))  # another process may have been faster
                            if stored is None:
                                computed_rows = fill(block)
                                if computed_rows.nbytes / len(block) * rows > self.gigabytes * 2**30:
                                    shutil.rmtree(entry, ignore_errors=True)
                                    return None
                                stored, wrote = _write(path, computed_rows), True
                    except Timeout:
                        continue  # another process computes it
                blocks[block.start] = stored
            if not any(block.start in blocks for block in missing):
                time.sleep(POLL)
        if wrote:
            self._limit_size(entry)
        return Blocks([blocks[start] for start in sorted(blocks)])

    def _limit_size(self, newest: Path) -> None:
        """Remove the entries used longest ago until the rest fits."""
        entries = {path: path.stat().st_mtime for path in self.folder.iterdir() if path.is_dir()}
        sizes = {path: sum(file.stat().st_size for file in path.glob("*.npy")) for path in entries}
        room = self.gigabytes * 2**30 - sum(sizes.values())
        for path in sorted(entries.keys() - {newest}, key=entries.__getitem__):
            if room >= 0:
                return
            shutil.rmtree(path, ignore_errors=True)  # another process may have been faster
            room += sizes[path]


def computed(rows: int, fill: Fill) -> Blocks:
    """Return the rows in memory, computed in the blocks that a cache would store: the same numbers, stored nowhere."""
    return Blocks([fill(block) for block in _ranges(rows)])


def _ranges(rows: int) -> list[range]:
    return [range(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]


def _write(path: Path, rows: Rows) -> Rows:
    """Store a block and map it; return `rows` if another process has removed the entry in the meantime."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    stored = _read(path, len(rows))
    return rows if stored is None else stored


def _read(path: Path, rows: int) -> Rows | None:
    """Map a block; None if there is none, or if its file is no array of so many rows."""
    try:
        stored: Rows = np.lib.format.open_memmap(path, mode="r")
        return stored if len(stored) == rows else None
    except Exception:  # numpy raises a dozen kinds on a damaged header, and whatever it is, the block can be computed
        return None
