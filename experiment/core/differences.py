"""Names of models by what differs between their configs, for a reader: ``resnet lr=4e-4`` in place of a digest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiment.core.identity import decisive

Config = Mapping[str, Any]

SECTIONS = ("model", "trainer", "data", "folds", "seed")  # of a job's config, that decide its numbers
NOT_NUMBERS = {"folds.only", "folds.parallel"}  # which folds are run now, and how
UNCLEAR = {"name", "kind"}  # keys that say nothing without their parent's
SMALL, LARGE = 1e-3, 1e6  # numbers outside are written with an exponent


def differences(configs: Sequence[Config]) -> list[dict[str, str]]:
    """Return the settings of each job that are not the same in all of them, as they would be typed, by their short names.

    Only settings that decide numbers count. A setting that occurs several times with the same values, as in an ensemble and
    its members, is named once. Where classes differ, their settings are left out. To compare a config with the defaults,
    give both.

    >>> one = {"model": {"_target_": "lightning_modules.resnet.ResNet", "lr": 4e-4, "dropout": 0.0}, "seed": 0}
    >>> other = {"model": {"_target_": "lightning_modules.resnet.ResNet", "lr": 0.002, "dropout": 0.0}, "seed": 0}
    >>> differences([one, other])
    [{'lr': '4e-4'}, {'lr': '0.002'}]
    """
    flat = [dict(_flat(config)) for config in configs]
    columns = {key: tuple(settings.get(key) for settings in flat) for key in dict.fromkeys(key for one in flat for key in one)}
    differing = {key: values for key, values in columns.items() if len(set(values)) > 1 and key not in NOT_NUMBERS}
    classes = [key for key in differing if key.endswith(".kind")]
    shortest: dict[tuple[str, tuple[str | None, ...]], str] = {}  # key of each setting and its values
    for key in sorted(differing, key=lambda key: key.count(".")):
        if not any(key.startswith(kind.removesuffix("kind")) and key != kind for kind in classes):
            shortest.setdefault((_last(key), differing[key]), key)
    keys = [key for key in differing if key in shortest.values()]
    used = Counter(map(_last, keys))
    names = {key: _last(key) if used[_last(key)] == 1 else key.removesuffix(".kind") for key in keys}
    return [{name: value for key, name in names.items() if (value := settings.get(key)) is not None} for settings in flat]


def named(titles: Sequence[str], configs: Sequence[Config]) -> list[str]:
    """Return a name for each model: its title, and for models that share it what differs between them.

    Names of models that differ in nothing that a config says, such as the images, are equal.
    """
    names = list(titles)
    for title, count in Counter(titles).items():
        places = [place for place, one in enumerate(titles) if one == title]
        if count > 1:
            for place, settings in zip(places, differences([configs[place] for place in places]), strict=True):
                names[place] = in_words(title, settings)
    return names


def in_words(title: str, settings: Mapping[str, str]) -> str:
    """Return a title and settings as one name."""
    return " ".join([title, *(f"{name}={value}" for name, value in settings.items())])


def _flat(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the settings that decide numbers, by dotted key."""
    for section in SECTIONS:
        if isinstance(config.get(section), Mapping):
            yield from _below(config[section], section, section)
        elif section in config:
            yield section, _typed(config[section])


def _below(settings: Config, kind: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a mapping of this kind (a section of `decisive`), by dotted key."""
    for key, value in decisive(kind, settings).items():
        if isinstance(value, Mapping):
            yield from _below(value, _kind(key, value, path), f"{path}.{key}")
        else:
            yield f"{path}.{key}", _typed(value)


def _kind(key: str, value: Config, path: str) -> str:
    """Return the section that `decisive` knows a mapping by; an empty one if all of it counts."""
    if path.endswith(".callbacks"):
        return "callback"
    if key == "trainer":
        return key
    return "model" if "_target_" in value else ""


def _last(key: str) -> str:
    """Return the part of a dotted key that names a setting."""
    *parents, last = key.split(".")
    return parents[-1] if parents and last in UNCLEAR else last


def _typed(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and value and not SMALL <= abs(value) < LARGE:
        return np.format_float_scientific(value, trim="-", exp_digits=1).replace("e+", "e")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(_typed, value))}]"
    return str(value)
