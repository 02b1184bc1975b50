"""Write a file or a folder at once or not at all: under a hidden temporary name, renamed when it is whole."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; it replaces `path` at the end, and is removed if the block fails.

    Readers see the old file or the new one, never half of one, and of several writers the last one wins.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def creating(folder: Path, marker: str) -> Iterator[Path]:
    """Give a temporary folder to fill; it is renamed to `folder` at the end, and removed if the block fails.

    A folder is complete when it holds the file `marker`, which the block has to write. A complete `folder` that another
    process has written in the meantime stays and this one is dropped; an incomplete one is replaced.
    """
    temporary = _temporary(folder)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists() and not (folder / marker).exists():
            folder.rename(_temporary(folder))
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / marker).exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a folder at once: readers see all of it or nothing. Nobody else may be writing it."""
    if folder.exists():
        folder.rename(_temporary(folder))
    remove_temporary(folder)


def remove_temporary(folder: Path) -> None:
    """Remove the temporary folders that killed processes left of `folder`. Nobody may be writing it now."""
    for path in folder.parent.glob(f".{folder.name}.*"):
        if re.fullmatch(r"[0-9a-f]{8}", path.name.rpartition(".")[2]):
            shutil.rmtree(path, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
