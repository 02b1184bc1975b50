"""Data module of a folder of images with a labels file, or with one sub-folder per class."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from datamodules.images import SUFFIXES, Pixels, read_image
from datamodules.kfold import KFoldDataModule, Row
from experiment.core.errors import UserError, listed


class FolderDataModule(KFoldDataModule):
    """Images of a folder.

    Either ``<root>/<labels>`` is a CSV file with the columns ``image`` (path below the root), ``label`` and optionally
    ``group`` (further columns are ignored), or each sub-folder of the root has the images of one class, at any depth; then
    each image is its own group.

    Args:
        root: folder of the images.
        labels: labels file, below the root.
        settings: see `KFoldDataModule`.

    Raises:
        UserError: the folder or the labels file is wrong; the message names the place.
    """

    def __init__(self, root: str, labels: str = "labels.csv", **settings: Any) -> None:
        super().__init__(**settings)
        self.root = Path(root).expanduser()
        self.labels = labels
        if not self.root.is_dir():
            raise UserError(f"data.root={root} is not a folder.")

    def rows(self) -> Sequence[Row]:
        """Return the rows of the labels file, or of the sub-folders if there is none."""
        file = self.root / self.labels
        return self._from_labels(file) if file.is_file() else self._from_folders()

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

    def _from_labels(self, file: Path) -> list[Row]:
        rows = []
        try:
            with file.open(newline="", encoding="utf-8-sig") as text:  # spreadsheets put a byte-order mark in front
                lines = csv.DictReader(text, skipinitialspace=True)
                columns = [name.strip() for name in lines.fieldnames or () if name.strip()]
                for column in ("image", "label"):
                    if column not in columns:
                        raise UserError(f"{file} has no column {column!r}; its columns: {listed(columns, 20)}.")
                used = [column for column in ("image", "label", "group") if column in columns]
                for line in lines:
                    if any(line.pop(None, None) or ()):
                        raise UserError(f"{file} line {lines.line_num} has more fields than the header has columns.")
                    values = {(key or "").strip(): value.strip() for key, value in line.items() if isinstance(value, str)}
                    for column in used:
                        if not values.get(column):
                            raise UserError(f"{file} line {lines.line_num} has an empty {column}.")
                    rows.append(Row(values["image"], values["label"], values.get("group") if "group" in used else None))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{file} is not a CSV file in UTF-8: {error}") from error
        if not rows:
            raise UserError(f"{file} names no images.")
        self._refuse_wrong_paths(file, [row.sample_id for row in rows])
        return [replace(row, sample_id=self._below_root(row.sample_id)) for row in rows]

    def _below_root(self, image: str) -> str:
        """Return one name for ``a.png``, ``./a.png`` and ``sub/../a.png``, independent of the path of the root."""
        return Path(os.path.relpath(os.path.abspath(self.root / image), os.path.abspath(self.root))).as_posix()

    def _refuse_wrong_paths(self, file: Path, images: Sequence[str]) -> None:
        root = os.path.realpath(self.root)

        @cache  # a hundred thousand images are in few folders
        def inside(path: str) -> bool:
            return Path(os.path.realpath(path)).is_relative_to(root)

        paths = [os.path.join(root, image) for image in images]
        outside = [
            image
            for image, path in zip(images, paths, strict=True)
            if not inside(path if os.path.islink(path) else os.path.dirname(path))
        ]
        if outside:
            raise UserError(f"{file} names paths outside data.root={self.root}: {listed(outside)}.")
        absent = [image for image, path in zip(images, paths, strict=True) if not os.path.isfile(path)]
        if absent:
            raise UserError(f"{file} names {len(absent)} images that do not exist: {listed(absent)}.")

    def _from_folders(self) -> list[Row]:
        rows = [
            Row(path.relative_to(self.root).as_posix(), label=folder.name)
            for folder in sorted(self.root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        ]
        if not rows:
            raise UserError(
                f"data.root={self.root} has neither {self.labels} nor sub-folders with images "
                f"({', '.join(SUFFIXES)}); add one of them, or name the labels file with data.labels=."
            )
        return rows
