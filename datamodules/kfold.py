"""LightningDataModule with k-fold splits. A data set adds its rows, the reading of one image, and what images depend on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.audit import audit
from datamodules.augment import Augment
from datamodules.decoded import DecodedImages
from datamodules.images import Pixels
from datamodules.intensity import Intensity, greys_note, scaled
from datamodules.rows import Row
from experiment.core.code import code_digest, code_of
from experiment.core.contracts import FoldData, FrozenOutputs
from experiment.core.errors import UserError, not_allowed
from experiment.core.folds import FoldScheme
from experiment.core.tables import Part, SampleTable
from experiment.store.disk_cache import DiskCache
from experiment.store.processes import end_with_parent

SHOWN = 2**20  # pixels per batch where nothing is trained, such as 40 images of 160²: their activations fit into a CPU's cache


class KFoldDataModule(FoldData):
    """Samples, and loaders for one fold of them at a time.

    Images are decoded and resized once. A batch carries float32 RGB in [0, 1] of the native bit depth; images of the fit
    part are augmented when they train and never otherwise.

    A subclass implements `rows`, `read` and `source`.

    The engine chooses the fold with `set_split`. In plain Lightning `setup` takes the one that `k`, `val`, `fold` and
    `fold_seed` name: the fold ``repeat-0/fold-<fold>`` of a command with these ``folds.k``, ``folds.val`` and ``seed``.

    Args:
        image_size: side of the square that images are resized to, in pixels.
        batch_size: images a batch in training; where nothing is trained a batch is as large as is fast.
        positive: class that sensitivity and F1 refer to; None takes the last in alphabetical order.
        augment: arguments of `datamodules.augment.Augment`.
        on_duplicate: ``error``, or ``tie`` to put groups that share an image into one (see `datamodules.audit`).
        num_workers: processes that decode; worth it only where the cache has no room for the images.
        cache: folder for decoded images, memory-mapped from there; None keeps them in memory.
        cache_gb: size limit of that folder; larger data sets are decoded again in each epoch.
        intensity: ``auto`` scales 16-bit images that use little of their range; ``native`` does not
            (see `datamodules.intensity`).
        k: number of folds.
        val: share of each training part that is not fitted on.
        fold: number of the fold, from 0.
        fold_seed: seed of the folds.

    Raises:
        UserError: settings or data that cannot be used.
    """

    own_fold: ClassVar[Mapping[str, str]] = {"k": "folds.k", "val": "folds.val", "fold": "folds.only", "fold_seed": "seed"}

    def __init__(
        self,
        image_size: int = 224,
        batch_size: int = 16,
        positive: str | None = None,
        augment: Mapping[str, Any] | None = None,
        on_duplicate: str = "error",
        num_workers: int = 0,
        cache: str | None = None,
        cache_gb: float = 20.0,
        intensity: Intensity = "auto",
        k: int = FoldScheme.k,
        val: float = FoldScheme.val,
        fold: int = 0,
        fold_seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # of the subclass too
        self.scheme, self.fold, self.fold_seed = FoldScheme(k=k, val=val, only=[fold]), fold, fold_seed
        for name, value, least in (("image_size", image_size, 32), ("batch_size", batch_size, 2)):
            if value < least:
                raise UserError(f"data.{name}={value} is not allowed; take {least} or more.")
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.shown = max(batch_size, min(SHOWN // image_size**2, 256))
        self.positive, self.on_duplicate, self.intensity = positive, on_duplicate, intensity
        self.cache = None if cache is None else DiskCache(Path(cache), cache_gb, "data.cache_gb")
        self.augment = Augment(**(augment or {}))
        self._served: FrozenOutputs | None = None

    def rows(self) -> Sequence[Row]:
        """Return the labelled images of the data set."""
        raise NotImplementedError(f"{type(self).__name__} must return its rows")

    def read(self, sample_id: str) -> Pixels:
        """Return one image, (H, W) or (H, W, 3), uint8 or uint16. Raises ValueError with the reason if it is unreadable."""
        raise NotImplementedError(f"{type(self).__name__} must read its images")

    def source(self, sample_ids: Sequence[str]) -> Mapping[str, Any]:
        """Return plain values that change whenever `read` would return other pixels, without reading any image."""
        raise NotImplementedError(f"{type(self).__name__} must return what its images depend on")

    def picture(self, sample_id: str) -> NDArray[np.uint8]:
        pixels = self.read(sample_id)
        if (samples := getattr(self, "samples", None)) is not None and samples.greys is not None:
            pixels = scaled(pixels, samples.greys)
        return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)

    def load(self) -> SampleTable:
        rows = self.rows()
        if not rows:
            raise UserError("there are no images.")
        classes = tuple(sorted({row.label for row in rows}))
        positive = self.positive if self.positive is not None else classes[-1]
        if positive not in classes:
            raise not_allowed("data.positive", positive, classes)
        ids = [row.sample_id for row in rows]
        described = {**self.source(ids), "sample_ids": ids, "code": code_digest(code_of([type(self)]))}
        self._decoded = DecodedImages(self.read, ids, self.image_size, self.cache, described, self.intensity)
        table = pd.DataFrame(
            {
                "sample_id": ids,
                "target": [classes.index(row.label) for row in rows],
                "group": [row.group if row.group is not None else row.sample_id for row in rows],
                "digest": self._decoded.digests,
            }
        )
        grouped = any(row.group is not None for row in rows)
        self.samples = audit(SampleTable(table, classes, positive, grouped, self._decoded.greys), self.on_duplicate)
        if note := greys_note(self._decoded.greys):
            self.notes = [*self.notes, note]
        self._position = {sample: position for position, sample in enumerate(self.samples.sample_id)}
        return self.samples

    def setup(self, stage: str) -> None:
        """Load the samples and choose a fold, unless that has been done: in plain Lightning."""
        if not hasattr(self, "samples"):
            self.load()
        if not hasattr(self, "split"):
            self.set_split(self.scheme.selected(self.scheme.split(self.samples, self.fold_seed))[0])

    def images(self, positions: Sequence[int]) -> Tensor:
        """Return images by row number, (B, 1 or 3, S, S), uint8 or uint16."""
        return self._decoded.squares(positions)

    def views(self, sample_ids: Sequence[str]) -> Tensor:
        return _real(self.images([self._position[sample] for sample in sample_ids]))

    def rows_loader(self, sample_ids: Sequence[str]) -> DataLoader[Any]:
        return self._loader(sample_ids, train=False)

    def serve(self, outputs: FrozenOutputs | None) -> None:
        self._served = outputs

    @property
    def exact_symmetries(self) -> tuple[int, ...] | None:
        return None if self.augment.changes_pixels else self.augment.symmetries

    @property
    def transform(self) -> Mapping[str, Any]:
        # A batch's size may change the last digits of a feature, so it is part of the description.
        return {"image_size": self.image_size, "batch_size": self.shown}

    def _loader(self, sample_ids: Sequence[str], train: bool) -> DataLoader[Any]:
        self._refuse_without("samples", "load()")
        positions = [self._position[sample] for sample in sample_ids]
        # The rest of an epoch may be one image, and batch norm cannot train on one.
        drop_last = train and len(positions) > self.batch_size
        return DataLoader(
            _Rows(self, positions, train),
            batch_size=self.batch_size if train else self.shown,
            shuffle=train,
            drop_last=drop_last,
            num_workers=self.num_workers,
            worker_init_fn=end_with_parent,
            persistent_workers=train and self.num_workers > 0,
            collate_fn=_as_is,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of the fit part, shuffled and augmented."""
        return self._loader(self._part("fit"), train=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.rows_loader(self._part("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        return self.rows_loader(self._part("test"))

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        return [self.rows_loader(self._part(part)) for part in self.predict_parts]

    def _part(self, part: Part) -> Sequence[str]:
        """Return the samples of a part of the fold."""
        self._refuse_without("split", "set_split()")
        ids: Sequence[str] = getattr(self.split, part)
        return ids

    def _refuse_without(self, what: str, method: str) -> None:
        if not hasattr(self, what):
            raise UserError(f"the data module has no {what} yet; call setup(), or {method}, before its loaders.")

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Convert to float RGB in [0, 1] on the device, and augment batches of the fit part that train."""
        image, ids = batch["image"], batch["sample_id"]
        symmetry = self.augment.draw(len(ids)) if batch["augmented"] else torch.zeros(len(ids), dtype=torch.int64)
        if self._served is not None:
            image = self._served.maps(ids, symmetry.tolist(), image.device)
        else:
            image = self.augment(_real(image), symmetry) if batch["augmented"] else _real(image)
        return {"image": image, "target": batch["target"], "sample_id": ids}


def _real(image: Tensor) -> Tensor:
    """Convert stored grey or colour (B, 1 or 3, S, S) of either depth to RGB in [0, 1]."""
    return image.to(torch.float32).div_(torch.iinfo(image.dtype).max).expand(-1, 3, -1, -1)


class _Rows(Dataset[dict[str, Any]]):
    """Rows of a data module, read in whole batches."""

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
