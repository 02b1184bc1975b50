"""Costly rows on disk, computed once: decoded images, skip features, activations of frozen layers.

An entry holds one array of rows and is named by the digest of everything that decides its numbers. It is stored in blocks,
each written beside, checksummed and renamed: several processes fill an entry together, each taking the blocks that no other is
at, and what a killed one had finished stays. A damaged block is made anew. Entries used longest ago are removed when together
they exceed the room given. Blocks are memory-mapped, so an entry may be larger than memory.
"""

import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from experiment.core.errors import UserError
from experiment.core.identity import digest

FORMAT = 2  # of entries: raise it when the meaning of stored numbers changes
BLOCK = 128  # rows: small enough that two processes share an entry of some hundred rows evenly
POLL = 0.05  # seconds between looks at blocks that others are filling
CHECKSUM = 4  # bytes, after the array

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
        """These columns of all rows, in memory."""
        return np.concatenate([block[:, chosen] for block in self.blocks])


@dataclass(frozen=True)
class DiskCache:
    """A folder of entries.

    Attributes:
        folder: where they lie.
        gigabytes: how much they may hold together; 0 keeps none.
        setting: config key of `gigabytes`, for messages.
    """

    folder: Path
    gigabytes: float
    setting: str

    def __post_init__(self) -> None:
        if self.gigabytes < 0:
            raise UserError(f"{self.setting}={self.gigabytes} is not allowed; take 0 (keep none) or more.")

    def get(self, described: Mapping[str, Any], rows: int, fill: Fill) -> Blocks | None:
        """The entry with this description; blocks that are not there are computed. None if the entry is larger than the room.

        Args:
            described: everything that decides the numbers, as plain values.
            rows: N.
            fill: gives the rows of a range of row numbers, (len(range), ...), of a type that needs no pickling.
        """
        if self.gigabytes == 0:
            return None
        entry = self.folder / digest({"format": FORMAT, **described})
        entry.mkdir(parents=True, exist_ok=True)
        os.utime(entry)  # used now
        blocks: dict[int, Rows] = {}
        written = False
        for block in _until_all(blocks, rows):
            path = entry / f"{block.start:09d}.npy"
            found = _read(path, len(block))
            if found is None:
                try:
                    with FileLock(path.with_suffix(".lock"), timeout=0):
                        found = _read(path, len(block))  # another process may have been faster
                        if found is None:
                            filled = fill(block)
                            if filled.nbytes / len(block) * rows > self.gigabytes * 2**30:
                                break
                            found, written = _written(path, filled), True
                except Timeout:
                    continue  # another process is at it
            blocks[block.start] = found
        else:
            if written:
                self._make_room(entry)
            return Blocks([blocks[start] for start in sorted(blocks)])
        shutil.rmtree(entry, ignore_errors=True)
        return None

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago until the rest fits."""
        entries = {path: path.stat().st_mtime for path in self.folder.iterdir() if path.is_dir()}
        sizes = {path: sum(file.stat().st_size for file in path.glob("*.npy")) for path in entries}
        room = self.gigabytes * 2**30 - sum(sizes.values())
        for path in sorted(entries.keys() - {newest}, key=entries.__getitem__):
            if room >= 0:
                return
            shutil.rmtree(path, ignore_errors=True)  # another process may have been faster
            room += sizes[path]


def computed(rows: int, fill: Fill) -> Blocks:
    """Return the rows in memory, computed in the blocks that a cache would have: the same numbers, stored nowhere."""
    return Blocks([fill(block) for block in _ranges(rows)])


def _ranges(rows: int) -> list[range]:
    return [range(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]


def _until_all(done: Mapping[int, Rows], rows: int) -> Iterator[range]:
    """Blocks that are not `done`, again and again until all are."""
    while missing := [block for block in _ranges(rows) if block.start not in done]:
        before = len(done)
        yield from missing
        if len(done) == before:
            time.sleep(POLL)


def _written(path: Path, rows: Rows) -> Rows:
    """Write a block and map it; in memory where it has been removed already."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
        checksum = _checksum(beside, beside.stat().st_size)
        with beside.open("ab") as file:
            file.write(checksum)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    found = _read(path, len(rows))
    return rows if found is None else found


def _read(path: Path, rows: int) -> Rows | None:
    """A block, mapped; None where there is none, or it is damaged."""
    try:
        stat = path.stat()
        if not _sound(path, stat.st_size, stat.st_mtime_ns):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == rows else None


@cache
def _sound(path: Path, size: int, changed: int) -> bool:
    """Whether a file's checksum holds; looked at once for each state of the file."""
    with path.open("rb") as file:
        file.seek(max(size - CHECKSUM, 0))
        return file.read() == _checksum(path, size - CHECKSUM)


def _checksum(path: Path, size: int) -> bytes:
    value = 0
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, 2**20))):
            value = zlib.crc32(piece, value)
            size -= len(piece)
    return value.to_bytes(CHECKSUM)
