"""Check of a config's plain values against a constructor's annotations, before anything is built."""

import inspect
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from experiment.core.errors import UserError

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def check_types(config: Mapping[str, Any], constructor: Any) -> None:
    """Refuse scalars of a type that the constructor's annotations do not allow.

    Raises:
        UserError: a value is of another type; the message names key, value and what is allowed.
    """
    hints = _hints(constructor)
    for key, value in config.items():
        if key in hints and not accepts(hints[key], value):
            kinds = _flat(hints[key])
            named = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
            allowed = [*dict.fromkeys(named), *dict.fromkeys(NAMES[kind] for kind in kinds if kind in NAMES)]
            take = ", ".join(allowed) or "a list or a mapping"
            raise UserError(f"{constructor.__name__}: {key}={value} is not allowed; take one of: {take}.")


def _hints(constructor: Any) -> dict[str, Any]:
    """Return the annotations of a constructor, and of the base constructors that it passes its other keywords to."""
    hints: dict[str, Any] = {}
    for kind in inspect.getmro(constructor) if inspect.isclass(constructor) else ():
        if "__init__" in vars(kind):
            try:
                hints = {**get_type_hints(vars(kind)["__init__"]), **hints}
            except (NameError, TypeError):  # annotations that cannot be resolved at run time allow anything
                return hints
            if all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(vars(kind)["__init__"]).parameters.values()):
                break
    return hints


def accepts(hint: Any, value: object) -> bool:
    """Return whether a plain value fits an annotation; accept what cannot be judged."""
    if not isinstance(value, str | int | float | None):
        return True
    kinds = _flat(hint)
    if any(get_origin(kind) is Literal and value in get_args(kind) for kind in kinds):
        return True
    fits = type(value) in kinds or (type(value) is int and float in kinds)
    return fits or not all(kind in NAMES or get_origin(kind) is not None for kind in kinds)


def _flat(hint: Any) -> list[Any]:
    """Return the members of a union, or the annotation itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for member in get_args(hint) for kind in _flat(member)]
    return [hint]
