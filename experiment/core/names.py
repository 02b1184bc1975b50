"""Names and folders that a user gives, checked before anything is written: a name must not lead out of its folder."""

import re
from pathlib import Path

from experiment.core.errors import UserError


def folder_name(key: str, value: object) -> str:
    """Return `value` if it can name a folder.

    Raises:
        UserError: it is no text, or has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", value) or value in (".", ".."):
        raise UserError(f"{key}={_shown(value)} is not allowed; it names a folder: take letters, digits, '.', '_' and '-'.")
    return value


def folder(key: str, value: object) -> Path:
    """Return the folder, which need not exist yet.

    Raises:
        UserError: it is no text, is empty, or cannot be a folder.
    """
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{key}={_shown(value)} is not allowed; give a folder, such as {key}=runs.")
    path = Path(value)
    try:
        there = next(one for one in (path, *path.absolute().parents) if one.exists())
    except OSError as error:
        raise UserError(f"{key}={value} cannot be a folder: {error.strerror}.") from error
    if not there.is_dir():
        raise UserError(f"{key}={value} is not allowed; {there} is a file. Give a folder, such as {key}=runs.")
    return path


def _shown(value: object) -> str:
    return "null" if value is None else " ".join(str(value).split())
