"""Errors that a user can fix: one line with the value, what is allowed, and what to type."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input or a bad setting. The command line prints its text without a traceback."""


def not_allowed(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """Return the error for a value outside a fixed set, which names the value, the set and the nearest allowed value.

    >>> print(not_allowed("model.combiner", "meen", ["mean", "vote"]))
    model.combiner=meen is not allowed; allowed: mean, vote. Did you mean 'mean'?
    """
    options = [str(option) for option in allowed]
    near = get_close_matches(str(value), options, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"{what}={value} is not allowed; allowed: {', '.join(options)}.{hint}")


def listed(names: Iterable[object], limit: int = 5) -> str:
    """Return the first few of many names and the number of further ones: ``'a, b and 7 more'``."""
    texts = [str(name) for name in names]
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")


def one_line(error: BaseException) -> str:
    """Return kind and text of an error on one line, for a log or the note of a failed fold."""
    return " ".join(f"{type(error).__name__}: {error}".split())
