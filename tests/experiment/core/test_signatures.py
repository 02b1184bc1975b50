from collections.abc import Sequence
from typing import Any, Literal

import pytest

from experiment.core.errors import UserError
from experiment.core.signatures import accepts, check_types


class Base:
    def __init__(self, size: int, share: float = 0.5) -> None: ...


class Derived(Base):
    def __init__(self, root: str, taps: Sequence[str] = (), **settings: Any) -> None: ...


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, True), (int, "3", False), (int, True, False), (int, 3.5, False), (float, 3, True), (float, 0.5, True),
        (float, "fast", False), (str, "a", True), (str, 3, False), (bool, True, True), (bool, "yes", False),
        (str | None, None, True), (str, None, False), (float | Sequence[float], 0.1, True),
        (float | Sequence[float], "wide", False), (float | Sequence[float], [0.1], True), (Sequence[str], "layer1", False),
        (Literal["a", "b"] | None, "a", True), (Literal["a", "b"] | None, "c", False), (Any, "anything", True),
        (Base, "cannot be judged", True),
    ],
)  # fmt: skip
def test_scalars_are_held_against_annotations(hint: Any, value: object, expected: bool) -> None:
    assert accepts(hint, value) is expected


def test_the_error_names_key_value_and_what_is_allowed() -> None:
    with pytest.raises(UserError, match=r"Base: size=large is not allowed; take one of: a whole number\."):
        check_types({"size": "large"}, Base)


def test_keywords_that_are_handed_on_are_held_against_the_base() -> None:
    check_types({"root": "x", "size": 3, "share": 1}, Derived)
    with pytest.raises(UserError, match="share=all"):
        check_types({"root": "x", "share": "all"}, Derived)
    with pytest.raises(UserError, match="root=3"):
        check_types({"root": 3}, Derived)
