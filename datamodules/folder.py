"""Data module of a folder of images with a labels file, or with one sub-folder per class."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from datamodules.images import Pixels, read_image
from datamodules.kfold import KFoldDataModule
from datamodules.listing import COLUMNS, FolderListing, folder
from datamodules.rows import Row


class FolderDataModule(KFoldDataModule):
    """Images of a folder, whose labels and groups `datamodules.listing.FolderListing` finds.

    Args:
        root: folder of the images.
        labels: labels file, below the root; None reads the sub-folders even if there is one.
        columns: names of its columns ``image``, ``label`` and ``group``.
        group_from: regular expression that finds the group in the path of an image.
        label_from: regular expression that finds the class there, instead of the first folder.
        settings: see `KFoldDataModule`.

    Raises:
        UserError: the folder or the labels file is wrong; the message names the place.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = "labels.csv",
        columns: Mapping[str, str | None] = COLUMNS,
        group_from: str | None = None,
        label_from: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.root = folder(root)
        self.list_images = partial(FolderListing, root, labels, columns, group_from, label_from)

    def rows(self) -> Sequence[Row]:
        """Return the rows of the labels file, or of the sub-folders if there is none."""
        listing = self.list_images()
        self.notes = listing.notes
        return listing.rows

    def read(self, sample_id: str) -> Pixels:
        """Read one image as stored."""
        return read_image(self.root / sample_id)

    def source(self, sample_ids: Sequence[str]) -> Mapping[str, Any]:
        """Return path, size and times of each file: a file cannot change its content and keep its time of change."""
        stats = [os.stat(self.root / sample) for sample in sample_ids]
        return {
            "root": os.path.abspath(self.root),
            "files": [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats],
        }
