"""Labels files as spreadsheets and people write them: columns by name, any usual separator and encoding."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datamodules.formats import is_read
from datamodules.rows import Row
from experiment.core.errors import UserError, listed, not_allowed
from experiment.core.text import visible

Role = Literal["image", "label", "group"]
ROLES: tuple[Role, ...] = ("image", "label", "group")
SEPARATORS = ",;\t|"
# Beginnings of names, in lower case without spaces and signs, that columns of a role often have.
USUAL: Mapping[Role, Sequence[str]] = {
    "image": ("image", "file", "path", "img", "picture", "micrograph", "bild", "datei", "name", "id"),
    "label": ("label", "class", "diagnos", "target", "categor", "finding", "klasse", "befund", "y"),
    "group": (
        "patient", "subject", "participant", "donor", "person", "animal", "mouse", "rat", "case", "fall", "mrn", "pid",
        "biops", "specimen", "block", "slide", "group",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LabelsFile:
    """Content of a labels file."""

    rows: Sequence[Row]  # images as they are written there
    unused: Sequence[str]  # columns that look like groups, where no column is used as one
    notes: Sequence[str]  # what was guessed


def read_labels(file: Path, columns: Mapping[str, str | None]) -> LabelsFile:
    """Read a labels file.

    Args:
        file: CSV with a header, separated by comma, semicolon, tab or ``|``; UTF-8, UTF-16 with its mark, or Windows-1252.
        columns: names of the columns ``image``, ``label`` and ``group``, in any case. A group column named ``group`` may be
            missing; None takes no groups from the file.

    Raises:
        UserError: the file is not such a file, or a value is missing; the message names the line.
    """
    text, notes = _decoded(file)
    first = text.split("\n", 1)[0]
    marked = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)  # as Excel writes it
    separators = marked[1] if marked else SEPARATORS
    separator = max(separators, key=lambda candidate: _fit(text, candidate, columns))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    try:
        records = [(lines.line_num, [field.strip() for field in line]) for line in lines]
    except csv.Error as error:
        raise UserError(f"{file} line {lines.line_num} is not CSV: {error}.") from error
    records = [(number, fields) for number, fields in records[bool(marked) :] if any(fields)]
    header = records[0][1] if records else []
    places = _places(file, header, columns)
    rows = [Row(**values) for values in _values(file, records[1:], len(header), places)]
    if not rows:
        raise UserError(f"{file} names no images.")
    unused = [] if "group" in places or columns["group"] is None else [name for name in header if likely(name, "group")]
    return LabelsFile(rows, unused, notes)


def _decoded(file: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and a note if its encoding was guessed."""
    content = file.read_bytes()
    save_as = f"{file} is not text; save it as CSV (UTF-8)."
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text or content.startswith(b"PK"):  # a spreadsheet is a zip archive
            raise UserError(save_as)
        guessed = f"{file.name} is not UTF-8 and was read as Windows-1252; check names with letters beyond A to Z."
        return text, [guessed] if encoding == "cp1252" else []
    raise UserError(save_as)


def _fit(text: str, separator: str, columns: Mapping[str, str | None]) -> tuple[int, int]:
    """Say how well a separator divides the header: the number of columns wanted, and of all columns."""
    header = next((line for line in text.splitlines() if line.strip(f"{separator} \t")), "")
    try:
        names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return 0, 0
    wanted = {_key(name) for name in columns.values() if name}
    return len(wanted & {_key(name) for name in names}), len(names)


def _places(file: Path, header: Sequence[str], columns: Mapping[str, str | None]) -> dict[Role, int]:
    """Return the number of the column of each role."""
    if unknown := set(columns) - set(ROLES):
        raise not_allowed("data.columns key ", sorted(unknown)[0], ROLES)
    places: dict[Role, int] = {}
    missing: list[Role] = []
    for role in ROLES:
        name = columns.get(role)
        if name is None and role == "group":
            continue
        found = [number for number, column in enumerate(header) if _key(column) == _key(name or "")]
        exact = [number for number in found if header[number] == name]
        if len(exact or found) > 1:
            raise UserError(f"{file} has several columns {name!r}: {listed(header, 20)}; rename all but one.")
        if found:
            places[role] = (exact or found)[0]
        elif role != "group" or name != "group":
            missing.append(role)
    if missing:
        raise _missing_columns(file, header, columns, missing)
    return places


def _missing_columns(
    file: Path, header: Sequence[str], columns: Mapping[str, str | None], missing: Sequence[Role]
) -> UserError:
    """Return the error that names the columns there are, and what to type."""
    named = listed([column for column in header if column], 20)
    first = f"{file} has no column {columns.get(missing[0])!r}; its columns: {named or 'none'}."
    if any(is_read(field) for field in header):
        return UserError(f"{first} Its first line must name the columns: image,label,group.")
    guesses: dict[Role, str] = {}
    for role in (*missing, *(() if "group" in missing else ("group",))):
        likely_ones = [name for name in header if likely(name, role) and name not in guesses.values()]
        if likely_ones:
            guesses[role] = likely_ones[0]
        elif role in missing:
            guesses[role] = "COLUMN"
    return UserError(f"{first} Type {' '.join(typed(f'data.columns.{role}', name) for role, name in guesses.items())}.")


def _values(
    file: Path, records: Sequence[tuple[int, Sequence[str]]], width: int, places: Mapping[Role, int]
) -> Iterator[dict[str, str]]:
    """Yield ``sample_id``, ``label`` and ``group`` of each line."""
    for number, fields in records:
        if any(fields[width:]):
            raise UserError(f"{file} line {number} has more fields than the header has columns.")
        values: dict[str, str] = {}
        for role, place in places.items():
            value = fields[place] if place < len(fields) else ""
            if not value:
                raise UserError(f"{file} line {number} has an empty {role}.")
            if visible(value) != value:
                raise UserError(f"{file} line {number} has control characters in its {role}: {value}; remove them.")
            values["sample_id" if role == "image" else role] = value
        yield values


def likely(name: str, role: Role) -> bool:
    """Return whether a column's name is a usual one of a role.

    >>> likely("Patient ID", "group")
    True
    """
    return re.sub(r"[\W_]", "", name.casefold()).startswith(tuple(USUAL[role]))


def typed(key: str, value: str) -> str:
    """Return an override as it is typed in a shell, quoted where Hydra or the shell need it.

    >>> print(typed("data.columns.group", "patient id"))
    'data.columns.group="patient id"'
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value):
        return f"{key}={value}"
    quoted = f'{key}="{value}"'.replace("'", "'\\''")
    return f"'{quoted}'"


def _key(name: str) -> str:
    return " ".join(name.casefold().split())
