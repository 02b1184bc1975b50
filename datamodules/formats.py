"""File formats: which images are read, and how to convert others."""

import os
from collections import Counter
from collections.abc import Iterable

TIFF = (".tif", ".tiff")
SUFFIXES = (".png", ".jpg", ".jpeg", *TIFF, ".bmp", ".gif", ".webp")
PILLOW = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # the decoders that are tried on a file that is no TIFF, whatever its name
MICROSCOPY = (".dm3", ".dm4", ".mrc", ".ser", ".emd", ".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".dcm", ".npy", ".hdf5")


def is_read(path: str) -> bool:
    """Return whether a file of this name is read as an image."""
    return _suffix(path) in SUFFIXES


def by_suffix(paths: Iterable[str]) -> str:
    """Count files by suffix, the most frequent first.

    >>> by_suffix(["a.dm3", "b.DM3", "notes"])
    '2 .dm3, 1 without suffix'
    """
    counts = Counter(_suffix(path) or "without suffix" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def conversion(paths: Iterable[str]) -> str:
    """Say how to convert files that are not read."""
    others = sorted({suffix for path in paths if (suffix := _suffix(path)) in MICROSCOPY})
    if not others:
        return f"Images are read as {', '.join(SUFFIXES)}; convert others to PNG or TIFF."
    names = ", ".join(suffix.removeprefix(".").upper() for suffix in others)
    verb = "is" if len(others) == 1 else "are"
    fiji = "Image > Type > 16-bit, File > Save As > Tiff"
    return f"{names} {verb} not read; convert to 16-bit TIFF, for instance with Fiji: {fiji}."


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
