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
from datamodules.intensity import Intensity, greys, levels, scaled
from experiment.core.errors import UserError, listed
from experiment.core.identity import digest
from experiment.store.disk_cache import Blocks, DiskCache, computed

Read = Callable[[str], Pixels]
Facts = tuple[NDArray[np.uint8], tuple[int, int], bool]
FACT_NAMES = ["digest", "levels", "deep"]  # what is stored of each image besides its square
FACTS = [("digest", "u1", 16), ("levels", "u2", 2), ("deep", "?")]


class DecodedImages:
    """Images of a data set, resized to squares, by row number.

    Without a cache they stay in memory; if the cache has no room for them, each access decodes them again.

    Args:
        read: returns one image as stored, or raises ValueError with the reason.
        sample_ids: identifiers of the rows.
        size: side of the squares, in pixels.
        cache: cache on disk; None for memory.
        described: plain values that change whenever `read` would return other pixels.
        intensity: which grey values a model sees, see `datamodules.intensity.greys`.

    Raises:
        UserError: images cannot be read; the message lists them.
    """

    def __init__(
        self,
        read: Read,
        sample_ids: Sequence[str],
        size: int,
        cache: DiskCache | None,
        described: Mapping[str, Any],
        intensity: Intensity = "auto",
    ) -> None:
        self.read, self.sample_ids, self.size = read, list(sample_ids), size
        self.blocks: Blocks | None = None
        try:
            if cache is None:
                self.blocks = computed(len(self.sample_ids), self._decode)
            else:
                self.blocks = cache.get({**described, "image_size": size}, len(self.sample_ids), self._decode)
            if self.blocks is None:
                facts = np.array(self._each(lambda sample: _facts(_read(read, sample)), self.sample_ids), dtype=FACTS)
            else:
                facts = np.concatenate([_only_facts(block) for block in self.blocks.blocks])
        except _UnreadableError:
            raise self._unreadable() from None
        self.greys = greys(facts["levels"], bool(facts["deep"].any()), intensity)
        self.digests = [self._digest(row.tobytes().hex()) for row in facts["digest"]]

    def _digest(self, stored: str) -> str:
        """Return the digest of an image as a model sees it, from that of its file's pixels."""
        return digest([stored, self.greys.low, self.greys.high]) if self.greys.scaled else stored

    def squares(self, positions: Sequence[int]) -> Tensor:
        """Return images by row number, (B, 1 or 3, S, S), uint8 or uint16."""
        if self.blocks is None:
            squares = self._each(lambda row: to_square(self.read(self.sample_ids[row]), self.size), positions)
        else:
            squares = [self.blocks[position]["square"] for position in positions]
        return stacked([scaled(square, self.greys) for square in squares])

    def _decode(self, block: range) -> NDArray[Any]:
        """Decode a block of rows to the fields of `FACTS`, and ``square``."""

        def decoded(row: int) -> tuple[Facts, Pixels]:
            pixels = _read(self.read, self.sample_ids[row])
            return _facts(pixels), to_square(pixels, self.size)

        facts, squares = zip(*self._each(decoded, block), strict=True)
        together = stacked(squares).numpy()
        out = np.empty(len(block), dtype=[*FACTS, ("square", together.dtype, together.shape[1:])])
        out["square"] = together
        out[FACT_NAMES] = np.array(list(facts), dtype=FACTS)
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


def _facts(pixels: Pixels) -> Facts:
    return np.frombuffer(bytes.fromhex(pixel_digest(pixels)), np.uint8), levels(pixels), pixels.dtype == np.uint16


def _only_facts(block: NDArray[Any]) -> NDArray[Any]:
    """Copy the facts of a block of rows, without touching the squares between them."""
    out = np.empty(len(block), dtype=FACTS)
    for name in FACT_NAMES:
        out[name] = block[name]
    return out


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
