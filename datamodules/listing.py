"""Images of a folder with their labels and groups, from a labels file or from sub-folders; nothing is decoded.

This module and what it imports take no PyTorch, so that a command finds mistakes in a folder at once.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datamodules import doubts
from datamodules.formats import SUFFIXES, by_suffix, conversion, is_read
from datamodules.guards import below_root, refuse_wrong_paths
from datamodules.labels_file import read_labels, typed
from datamodules.rows import Row
from experiment.core.errors import UserError, listed

COLUMNS: Mapping[str, str | None] = {"image": "image", "label": "label", "group": "group"}


class FolderListing:
    """Labelled images of a folder, listed when it is built.

    Either ``<root>/<labels>`` is a file with a line per image (see `datamodules.labels_file`), or each sub-folder of the root
    has the images of one class, at any depth. Groups come from a column of the file, or from the paths.

    Args:
        root: folder of the images.
        labels: labels file, below the root; None reads the sub-folders even if there is one.
        columns: names of the columns ``image``, ``label`` and ``group``; a group of None takes no column.
        group_from: regular expression with one pair of brackets, which is searched in each path below the root; the part in
            the brackets is the group.
        label_from: the same for the class, where there is no labels file; None takes the first folder.

    Raises:
        UserError: the folder or the labels file is wrong; the message names the place and the way out.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = "labels.csv",
        columns: Mapping[str, str | None] = COLUMNS,
        group_from: str | None = None,
        label_from: str | None = None,
    ) -> None:
        self.root = folder(root)
        self.labels, self.columns = labels, {**COLUMNS, **columns}
        self.group_from, self.label_from = group_from, label_from
        self.notes: list[str] = []  # what a user should know of it, in lines
        file = self.root / labels if labels else None
        self.rows = self._from_file(file) if file is not None and file.is_file() else self._from_folders()
        doubts.refuse_look_alikes("classes", {row.label for row in self.rows})
        doubts.refuse_look_alikes("groups", {row.group for row in self.rows if row.group is not None})
        self.notes += doubts.many_classes([row.label for row in self.rows])

    def _from_file(self, file: Path) -> list[Row]:
        if self.label_from:
            raise UserError(f"data.label_from is for folders without a labels file, and there is {file}; data.labels=null.")
        content = read_labels(file, self.columns)
        self.notes += content.notes
        written = [self._as_path(row.sample_id) for row in content.rows]
        refuse_wrong_paths(self.root, written, f"{file} names")
        images, labels = below_root(self.root, written), [row.label for row in content.rows]
        rows = [replace(row, sample_id=image) for row, image in zip(content.rows, images, strict=True)]
        if others := [image for image in images if not is_read(image)]:
            raise UserError(
                f"{file} names images that are not read: {by_suffix(others)} ({listed(others, 3)}). {conversion(others)}"
            )
        doubts.refuse_unlikely_classes(labels, "Name the column of the classes with data.columns.label=COLUMN.")
        self._note_unlabelled(file, images)
        if any(row.group is not None for row in rows):
            if self.group_from:
                raise UserError(
                    f"groups come from the column {self.columns['group']!r} of {file} and from data.group_from; "
                    "leave one out: data.columns.group=null, or data.group_from=null."
                )
            return rows
        if self.group_from or self.columns["group"] is None:
            return self._grouped(rows)
        self.notes += doubts.unused_columns(content.unused) or doubts.unused_folders(images, labels)
        return rows

    def _from_folders(self) -> list[Row]:
        found = sorted(_files(self.root, ""), key=lambda path: path.split("/"))
        images = [path for path in found if is_read(path) and (self.label_from or "/" in path)]
        left_out = sorted({*found} - {*images, self.labels or ""})
        if not images:
            others = f"; it has {by_suffix(left_out)}. {conversion(left_out)}" if left_out else "."
            raise UserError(
                f"data.root={self.root} has neither {self.labels or 'a labels file'} nor sub-folders with images "
                f"({', '.join(SUFFIXES)}); add one of them, or name the labels file with data.labels={others}"
            )
        refuse_wrong_paths(self.root, images, "the sub-folders hold")
        if self.label_from:
            labels = _parts("data.label_from", self.label_from, images)
        else:
            labels = [image.split("/")[0] for image in images]
            doubts.refuse_unlikely_classes(
                labels,
                f"If the folders below them are the classes, type {typed('data.label_from', doubts.SECOND_FOLDER)}; if not, "
                f"{typed('data.label_from', doubts.FIRST_FOLDER)}.",
            )
            doubts.refuse_patients_above_classes(images)
        if left_out:
            self.notes.append(f"{len(left_out)} files left out: {by_suffix(left_out)}. {conversion(left_out)}")
        rows = [Row(image, label) for image, label in zip(images, labels, strict=True)]
        if self.group_from or self.columns["group"] is None:
            return self._grouped(rows)
        self.notes += doubts.unused_folders(images, labels)
        return rows

    def _as_path(self, image: str) -> str:
        r"""Return a path as Windows writes it (``images\a.png``) with slashes, unless a file has that very name."""
        return image if "\\" not in image or os.path.lexists(self.root / image) else image.replace("\\", "/")

    def _grouped(self, rows: list[Row]) -> list[Row]:
        if not self.group_from:
            return rows
        groups = _parts("data.group_from", self.group_from, [row.sample_id for row in rows])
        return [replace(row, group=group) for row, group in zip(rows, groups, strict=True)]

    def _note_unlabelled(self, file: Path, images: Sequence[str]) -> None:
        """Count the images that are in the same folders, but not in the labels file."""
        named = set(images)
        folders = sorted({os.path.dirname(image) for image in images})
        neighbours = [os.path.join(inner, name) for inner in folders for name in os.listdir(self.root / inner)]
        others = [
            path for path in neighbours if is_read(path) and path not in named and not os.path.basename(path).startswith(".")
        ]
        if others:
            self.notes.append(f"{len(others)} images left out, which {file.name} does not name: {by_suffix(others)}.")


def folder(root: str) -> Path:
    """Return the path of a folder.

    Raises:
        UserError: it is no folder.
    """
    path = Path(root).expanduser()
    if not root or not path.is_dir():
        raise UserError(f"data.root={root} is not a folder.")
    return path


def _files(root: Path, inner: str) -> Iterator[str]:
    """Yield the paths below the root of all files at any depth, without hidden ones."""
    try:
        entries = [entry for entry in os.scandir(root / inner) if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"data.root={root}: {inner} cannot be read ({error.strerror}).") from error
    for entry in entries:
        path = f"{inner}/{entry.name}" if inner else entry.name
        if not entry.is_dir():
            yield path
        elif entry.is_symlink():
            raise UserError(f"data.root={root}: {path} is a link to a folder, which is not followed; move the folder there.")
        else:
            yield from _files(root, path)


def _parts(option: str, pattern: str, images: Sequence[str]) -> list[str]:
    """Return the part of each path that the brackets of a regular expression match."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{option}={pattern} is not a regular expression: {error}.") from error
    if expression.groups != 1:
        raise UserError(f"{option}={pattern} has {expression.groups} pairs of brackets; put one around the part that counts.")
    found = [expression.search(image) for image in images]
    without = [image for image, match in zip(images, found, strict=True) if match is None or not match[1]]
    if without:
        raise UserError(f"{option}={pattern} finds nothing in {len(without)} of {len(images)} paths: {listed(without, 3)}.")
    return [match[1] for match in found if match is not None]
