"""Classes and groups that a user can hardly have meant: refused, or named, with the way out."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from datamodules.labels_file import typed
from experiment.core.errors import UserError, listed

PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "holdout"}
PATIENT = re.compile(r"(patient|pat|subject|subj|participant|donor|animal|mouse|case|biopsy|specimen|block|slide)[\W_]*\w*\d+")
MANY, FEW = 10, 10  # more classes than this with fewer images each on average look like patients
SECOND_FOLDER = "^[^/]+/([^/]+)/"
FIRST_FOLDER = "^([^/]+)/"


def refuse_look_alikes(what: str, names: Iterable[str]) -> None:
    """Refuse names that differ in nothing but case, spaces or invisible characters.

    Raises:
        UserError: naming them.
    """
    alike = defaultdict(set)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        alike["".join(c for c in plain if not c.isspace() and unicodedata.category(c) != "Cf")].add(name)
    twins = [sorted(group) for group in alike.values() if len(group) > 1]
    if twins:
        more = f", and {len(twins) - 1} more such sets" if len(twins) > 1 else ""
        raise UserError(
            f"{what} that differ only in case, spaces or signs that cannot be seen: {', '.join(map(repr, twins[0]))}{more}. "
            "Write each in one way."
        )


def refuse_unlikely_classes(labels: Sequence[str], way_out: str) -> None:
    """Refuse classes that are parts of a split, or patients.

    Raises:
        UserError: naming them, and the `way_out`.
    """
    classes = sorted(set(labels))
    if len([name for name in classes if name.casefold() in PARTS]) > 1:
        raise UserError(f"the classes would be {listed(classes)}, which are parts of a split; folds are made here. {way_out}")
    if all(PATIENT.fullmatch(name.casefold()) for name in classes):
        raise UserError(f"the classes would be {listed(classes)}, which look like patients. {way_out}")


def many_classes(labels: Sequence[str]) -> list[str]:
    """Return a note if there are more classes, with fewer images, than a model learns from."""
    counts = Counter(labels)
    if len(counts) <= MANY or len(labels) >= FEW * len(counts):
        return []
    return [f"{len(counts)} classes with {len(labels) / len(counts):.0f} images each on average: are they meant as classes?"]


def refuse_patients_above_classes(images: Sequence[str]) -> None:
    """Refuse class folders that are more than the names of the folders below them, as in ``patient/class/image``.

    Raises:
        UserError: naming both, and the options that read such a folder.
    """
    split = [image.split("/") for image in images]
    if any(len(parts) < 3 for parts in split):
        return
    first, second = sorted({parts[0] for parts in split}), sorted({parts[1] for parts in split})
    if 1 < len(second) < len(first):
        raise UserError(
            f"the classes would be the {len(first)} folders {listed(first, 3)}, but below them there are only "
            f"{listed(second)}. If those are the classes, type {typed('data.label_from', SECOND_FOLDER)} "
            f"{typed('data.group_from', FIRST_FOLDER)}; if not, {typed('data.label_from', FIRST_FOLDER)}."
        )


def unused_folders(images: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return a note on a level of folders that is not used, though it may be the patients: the uppermost one."""
    split = [image.split("/")[:-1] for image in images]
    for level in range(min(map(len, split))):
        names = [parts[level] for parts in split]
        of_label = defaultdict(set)
        for name, label in zip(names, labels, strict=True):
            of_label[label].add(name)
        # folders that repeat the labels say nothing new
        if len(set(names)) > len(set(labels)) or any(len(folders) > 1 for folders in of_label.values()):
            option = typed("data.group_from", "^" + "[^/]+/" * level + "([^/]+)/")
            return [
                f"sub-folders that are not used: {listed(sorted(set(names)), 3)}. If they are the groups (patients), type "
                f"{option}."
            ]
    return []


def unused_columns(columns: Sequence[str]) -> list[str]:
    """Return a note on columns that may be the patients."""
    if not columns:
        return []
    return [
        f"columns that are not used: {listed(columns)}. If one of them is the group (patient), type "
        f"{typed('data.columns.group', columns[0])}; if not, data.columns.group=null."
    ]
