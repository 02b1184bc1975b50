"""Decoded images: read, resized and digested once, then memory-mapped."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images import Pixels, pixel_digest, to_square
from experiment.core.errors import UserError, listed
from experiment.store.disk_cache import Blocks, DiskCache, computed

Read = Callable[[str], Pixels]


class DecodedImages:
    """Squares of the images of a data set, by row number.

    Without a cache they are kept in memory; where the cache has no room for them they are decoded whenever they are asked for.

    Args:
        read: gives one image as stored, or raises ValueError with the reason.
        sample_ids: the rows.
        size: side of the squares, in pixels.
        cache: where they are kept.
        described: what changes whenever `read` would give something else.

    Raises:
        UserError: all images that cannot be read.
    """

    def __init__(
        self, read: Read, sample_ids: Sequence[str], size: int, cache: DiskCache | None, described: Mapping[str, Any]
    ) -> None:
        self.read, self.sample_ids, self.size = read, list(sample_ids), size
        self.blocks: Blocks | None = None
        try:
            if cache is None:
                self.blocks = computed(len(self.sample_ids), self._decode)
            else:
                self.blocks = cache.get({**described, "image_size": size}, len(self.sample_ids), self._decode)
            if self.blocks is None:
                self.digests = self._each(lambda sample: pixel_digest(_read(read, sample)), self.sample_ids)
            else:
                self.digests = [row["digest"].tobytes().hex() for block in self.blocks.blocks for row in block]
        except _UnreadableError:
            raise self._unreadable() from None

    def squares(self, positions: Sequence[int]) -> Tensor:
        """Images by row number, (B, 1 or 3, S, S), uint8 or uint16."""
        if self.blocks is None:
            return stacked(self._each(lambda row: to_square(self.read(self.sample_ids[row]), self.size), positions))
        return stacked([self.blocks[position]["square"] for position in positions])

    def _decode(self, block: range) -> NDArray[Any]:
        """A block of rows with the fields ``digest`` and ``square``."""

        def decoded(row: int) -> tuple[str, Pixels]:
            pixels = _read(self.read, self.sample_ids[row])
            return pixel_digest(pixels), to_square(pixels, self.size)

        digests, squares = zip(*self._each(decoded, block), strict=True)
        together = stacked(squares).numpy()
        out = np.empty(len(block), dtype=[("digest", "u1", 16), ("square", together.dtype, together.shape[1:])])
        out["digest"] = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 16)
        out["square"] = together
        return out

    @staticmethod
    def _each(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`work` on each item, in threads: decoders release the interpreter."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(work, items))

    def _unreadable(self) -> UserError:
        def reason(sample: str) -> str | None:
            try:
                self.read(sample)
            except ValueError as error:
                return f"{sample} ({error})"
            return None

        bad = [text for text in self._each(reason, self.sample_ids) if text]
        return UserError(f"{len(bad)} unreadable: {listed(bad)}. Replace or remove them.")


class _UnreadableError(Exception):
    """At least one image cannot be read."""


def _read(read: Read, sample: str) -> Pixels:
    try:
        return read(sample)
    except ValueError as error:
        raise _UnreadableError from error


def stacked(squares: Sequence[Pixels]) -> Tensor:
    """One tensor of squares (C, S, S) that may differ in depth and channels: the deeper and the more channels win."""
    deep = any(square.dtype == np.uint16 for square in squares)
    channels = max(square.shape[0] for square in squares)
    out = np.empty((len(squares), channels, *squares[0].shape[1:]), dtype=np.uint16 if deep else np.uint8)
    for row, square in zip(out, squares, strict=True):
        # 255 · 257 = 65535: an 8-bit image keeps its fractions of the full range at 16 bits
        row[:] = square.astype(np.uint16) * 257 if deep and square.dtype == np.uint8 else square
    return torch.from_numpy(out)
