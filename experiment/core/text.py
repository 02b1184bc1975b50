"""Text of a user's files, such as labels and names, as it may be shown on a terminal."""

import re

# Control characters move the cursor, clear the screen or begin a line; bidirectional overrides reorder what is read; lone
# surrogates stand for bytes of a file name that are not UTF-8 and cannot be printed.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Replace characters that would act on a terminal by their escapes.

    >>> print(visible("a\x1b[31mb\nc"))
    a\x1b[31mb\nc
    """
    return UNSAFE.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode("ascii"), text)
