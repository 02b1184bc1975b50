"""Mistakes a user can make, told in one line with the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend: bad input or a bad setting. The command line prints its text alone, no traceback."""


def not_allowed(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """The error for a value outside a known set, naming the value, the set and the nearest allowed value."""
    options = [str(option) for option in allowed]
    near = get_close_matches(str(value), options, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"{what}={value} is not allowed; allowed: {', '.join(options)}.{hint}")


def listed(names: Iterable[object], limit: int = 5) -> str:
    """The first few of many names, and how many more there are: ``'a, b and 7 more'``."""
    texts = [str(name) for name in names]
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")


def one_line(error: BaseException) -> str:
    """Kind and text of an error, for a log or a note beside a fold."""
    return " ".join(f"{type(error).__name__}: {error}".split())
