"""Decoded images: read, resized and hashed once, then memory-mapped."""

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
    """Images of a data set, resized to squares, by row number.

    Without a cache they stay in memory; if the cache has no room for them, each access decodes them again.

    Args:
        read: returns one image as stored, or raises ValueError with the reason.
        sample_ids: identifiers of the rows.
        size: side of the squares, in pixels.
        cache: cache on disk; None for memory.
        described: plain values that change whenever `read` would return other pixels.

    Raises:
        UserError: images cannot be read; the message lists them.
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
        """Return images by row number, (B, 1 or 3, S, S), uint8 or uint16."""
        if self.blocks is None:
            return stacked(self._each(lambda row: to_square(self.read(self.sample_ids[row]), self.size), positions))
        return stacked([self.blocks[position]["square"] for position in positions])

    def _decode(self, block: range) -> NDArray[Any]:
        """Decode a block of rows to the fields ``digest`` and ``square``."""

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
        """Apply `work` to each item in threads: decoders release the interpreter lock."""
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
        return UserError(f"{len(bad)} unreadable images: {listed(bad)}. Replace or remove them.")


class _UnreadableError(Exception):
    """Image that cannot be read."""


def _read(read: Read, sample: str) -> Pixels:
    try:
        return read(sample)
    except ValueError as error:
        raise _UnreadableError from error


def stacked(squares: Sequence[Pixels]) -> Tensor:
    """Stack squares (C, S, S) in one tensor (B, C, S, S) with the largest depth and number of channels among them."""
    deep = any(square.dtype == np.uint16 for square in squares)
    channels = max(square.shape[0] for square in squares)
    out = np.empty((len(squares), channels, *squares[0].shape[1:]), dtype=np.uint16 if deep else np.uint8)
    for row, square in zip(out, squares, strict=True):
        # 255 · 257 = 65535: an 8-bit image has the same fractions of the full range at 16 bits
        row[:] = square.astype(np.uint16) * 257 if deep and square.dtype == np.uint8 else square
    return torch.from_numpy(out)
