"""A LightningDataModule with k-fold splits. A data set adds two methods: what its rows are, and one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.augment import Augment
from datamodules.images import Pixels, pixel_digest, to_square
from experiment.audit import audit
from experiment.contracts import FoldData
from experiment.errors import UserError, not_allowed, some
from experiment.tables import Part, SampleTable, Split


@dataclass(frozen=True)
class Row:
    """One labelled image, before it is read.

    Attributes:
        sample_id: stable text, such as the path below the root.
        label: class name.
        group: patient, animal or block; None when not given.
    """

    sample_id: str
    label: str
    group: str | None = None


class KFoldDataModule(FoldData):
    """Samples, and loaders for one fold of them at a time.

    Images are decoded and resized once. A batch carries float32 RGB in [0, 1] of the native bit depth; images of the fit
    part are augmented when they train and never otherwise.

    A subclass implements `rows` and `read`.

    Args:
        image_size: side of the square that images are resized to, in pixels.
        batch_size: images a batch.
        positive: the class that sensitivity and the like are about; None takes the last in alphabetical order.
        augment: arguments of `datamodules.augment.Augment`.
        on_duplicate: ``error``, or ``tie`` to put groups that share an image into one (see `experiment.audit`).
        num_workers: processes that decode; worth it only where the images do not fit in memory.
        cache_gb: memory for decoded images; data sets beyond it are decoded anew in each epoch.
        recommended: values that other config groups take from here; not read by the data module.

    Raises:
        UserError: settings or data that cannot be used.
    """

    def __init__(
        self,
        image_size: int,
        batch_size: int = 32,
        positive: str | None = None,
        augment: Mapping[str, Any] | None = None,
        on_duplicate: str = "error",
        num_workers: int = 0,
        cache_gb: float = 4.0,
        recommended: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("image_size", image_size, 32), ("batch_size", batch_size, 2)):
            if value < least:
                raise UserError(f"data.{name}={value} is not allowed; take {least} or more.")
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.positive, self.on_duplicate, self.cache_gb = positive, on_duplicate, cache_gb
        self.augment = Augment(**(augment or {}))

    def rows(self) -> Sequence[Row]:
        """The labelled images of the data set."""
        raise NotImplementedError(f"{type(self).__name__} must say which rows it has")

    def read(self, sample_id: str) -> Pixels:
        """One image, (H, W) or (H, W, 3), uint8 or uint16. Raises ValueError with the reason if it cannot be read."""
        raise NotImplementedError(f"{type(self).__name__} must read its images")

    def picture(self, sample_id: str) -> NDArray[np.uint8]:
        """One image as a person may look at it, (H, W) or (H, W, 3), uint8."""
        pixels = self.read(sample_id)
        return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)

    def load(self) -> SampleTable:
        """Read and audit all samples; `samples` holds them from then on."""
        rows = self.rows()
        if not rows:
            raise UserError("there are no images.")
        classes = tuple(sorted({row.label for row in rows}))
        positive = self.positive if self.positive is not None else classes[-1]
        if positive not in classes:
            raise not_allowed("data.positive", positive, classes)
        images, digests = self._decoded([row.sample_id for row in rows])
        table = pd.DataFrame(
            {
                "sample_id": [row.sample_id for row in rows],
                "target": [classes.index(row.label) for row in rows],
                "group": [row.group if row.group is not None else row.sample_id for row in rows],
                "digest": digests,
            }
        )
        grouped = any(row.group is not None for row in rows)
        self.samples = audit(SampleTable(table, classes, positive, grouped), self.on_duplicate)
        self._images = images
        self._position = {sample: position for position, sample in enumerate(self.samples.sample_id)}
        return self.samples

    def _decoded(self, sample_ids: Sequence[str]) -> tuple[Tensor | None, list[str]]:
        """All images as one tensor (N, 1 or 3, S, S), or None where they exceed the memory allowed; and their digests."""
        digests, unreadable, squares = [], [], []
        room = self.cache_gb * 2**30
        for sample_id in sample_ids:
            try:
                pixels = self.read(sample_id)
            except ValueError as error:
                unreadable.append(f"{sample_id} ({error})")
                continue
            digests.append(pixel_digest(pixels))
            if room >= 0:
                squares.append(to_square(pixels, self.image_size))
                room -= squares[-1].nbytes
        if unreadable:
            raise UserError(f"{len(unreadable)} unreadable: {some(unreadable)}. Replace or remove them.")
        return (_stacked(squares) if room >= 0 else None), digests

    def set_split(self, split: Split) -> None:
        """Choose the fold that the loaders serve from now on."""
        self.split = split

    def images(self, positions: Sequence[int]) -> Tensor:
        """Images by row number, (B, 1 or 3, S, S), uint8 or uint16."""
        if self._images is not None:
            return self._images[list(positions)]
        ids = self.samples.sample_id
        return _stacked([to_square(self.read(ids[position]), self.image_size) for position in positions])

    def views(self, sample_ids: Sequence[str]) -> Tensor:
        """Images as a model sees them, not augmented: (B, 3, S, S), float32 RGB in [0, 1]."""
        return _real(self.images([self._position[sample] for sample in sample_ids]))

    def loader(self, *parts: Part) -> DataLoader[Any]:
        """Batches of these parts of the fold, each row once, in a fixed order and not augmented."""
        return self.rows_loader([sample for part in parts for sample in getattr(self.split, part)])

    def rows_loader(self, sample_ids: Sequence[str]) -> DataLoader[Any]:
        """Batches of these rows in this order, not augmented."""
        return self._loader(sample_ids, train=False)

    @property
    def transform(self) -> Mapping[str, Any]:
        """Resizing to squares; a batch's size may move the last digits of a feature, so it counts too."""
        return {"image_size": self.image_size, "batch_size": self.batch_size}

    def _loader(self, sample_ids: Sequence[str], train: bool) -> DataLoader[Any]:
        positions = [self._position[sample] for sample in sample_ids]
        return DataLoader(
            _Rows(self, positions, train),
            batch_size=self.batch_size,
            shuffle=train,
            # The rest of an epoch may be one image, and batch norm cannot train on one.
            drop_last=train and len(positions) > self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=train and self.num_workers > 0,
            collate_fn=_as_is,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the fit part, shuffled and augmented."""
        return self._loader(self.split.fit, train=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the val part."""
        return self.loader("val")

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """One loader for each of `predict_parts`."""
        return [self.loader(part) for part in self.predict_parts]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """On the device: to float RGB in [0, 1], and augmentation where the loader asked for it."""
        real = _real(batch["image"])
        return {
            "image": self.augment(real) if batch["augmented"] else real,
            "target": batch["target"],
            "sample_id": batch["sample_id"],
        }


def _real(image: Tensor) -> Tensor:
    """Stored grey or colour (B, 1 or 3, S, S) as RGB in [0, 1], whatever its depth."""
    return image.to(torch.float32).div_(torch.iinfo(image.dtype).max).expand(-1, 3, -1, -1)


class _Rows(Dataset[dict[str, Any]]):
    """Some rows of a data module; whole batches are fetched at once."""

    def __init__(self, data: KFoldDataModule, positions: Sequence[int], augmented: bool) -> None:
        self.data, self.positions, self.augmented = data, np.asarray(positions, dtype=np.int64), augmented

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        positions = self.positions[list(indices)]
        samples = self.data.samples
        return {
            "image": self.data.images(positions.tolist()),
            "target": torch.from_numpy(samples.target[positions]),
            "sample_id": samples.sample_id[positions].tolist(),
            "augmented": self.augmented,
        }


def _as_is(batch: Any) -> Any:
    return batch


def _stacked(squares: Sequence[Pixels]) -> Tensor:
    """One tensor of squares (C, S, S) that may differ in depth and channels: the deeper and the more channels win."""
    deep = any(square.dtype == np.uint16 for square in squares)
    channels = max(square.shape[0] for square in squares)
    out = np.empty((len(squares), channels, *squares[0].shape[1:]), dtype=np.uint16 if deep else np.uint8)
    for row, square in zip(out, squares, strict=True):
        # 255 · 257 = 65535: an 8-bit image keeps its fractions of the full range at 16 bits
        row[:] = square.astype(np.uint16) * 257 if deep and square.dtype == np.uint8 else square
    return torch.from_numpy(out)
