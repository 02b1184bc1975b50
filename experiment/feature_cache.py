"""Features on disk, so that a network sees an image once: for all folds, trials, taps, poolings, kernels and combiners.

A file holds the features of all images of a data set by one network, and is named by the digest of what decides them: the
pixels, what is done to them, the network and the precision. Files are written beside and renamed, and the ones used longest
ago are removed when together they exceed the room given.
"""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiment.errors import UserError
from experiment.identity import digest

FORMAT = 1  # of the columns: raise it when the order or the meaning of features changes

Features = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureCache:
    """A folder of feature files.

    Attributes:
        folder: where they lie.
        gigabytes: how much they may hold together; 0 keeps none.
    """

    folder: Path
    gigabytes: float

    def __post_init__(self) -> None:
        if self.gigabytes < 0:
            raise UserError(f"paths.features_gb={self.gigabytes} is not allowed; take 0 (keep none) or more.")

    def get(self, pixels: Sequence[str], described: Mapping[str, Any], compute: Callable[[], Features]) -> Features:
        """Features (N, F) of the images with these digests, in this order; computed if they are not there.

        Args:
            pixels: digest of each image.
            described: all else that decides the features.
            compute: gives them, of all images in the order of `pixels`.
        """
        if self.gigabytes == 0:
            return compute()
        path = self.folder / f"{digest({'format': FORMAT, 'pixels': list(pixels), **described})}.npy"
        found = _read(path, len(pixels))
        if found is None:
            found = compute()
            self._write(path, found)
        return found

    def _write(self, path: Path, features: Features) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with beside.open("wb") as file:
                np.save(file, features, allow_pickle=False)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago until the rest fits; the newest file goes too if it alone is too large."""
        files = {path: path.stat() for path in self.folder.glob("*.npy")}
        room = self.gigabytes * 2**30 - sum(stat.st_size for stat in files.values())
        for path in sorted(files, key=lambda path: (path == newest, files[path].st_mtime)):
            if room >= 0:
                return
            path.unlink(missing_ok=True)  # another process may have been faster
            room += files[path].st_size


def _read(path: Path, rows: int) -> Features | None:
    """The features in a file, which counts as used now; None where there is none, or it is damaged."""
    try:
        found = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and len(found) == rows and found.dtype == np.float32 else None
