"""How far the folds at work are. Other processes leave it in a folder, for the one that has the terminal."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from experiment.store.files import write_text

EVERY = 0.5  # seconds between two looks, and between two notes


@dataclass(frozen=True)
class Pulse:
    """How far a fold is.

    Attributes:
        step: batches trained on.
        steps: all there will be; None where that is not known, or nothing is trained.
        epoch: the one at work, from 1.
        rate: training images a second.
        left: seconds; None where that is not known.
    """

    step: int = 0
    steps: int | None = None
    epoch: int = 0
    rate: float = 0.0
    left: float | None = None


class Folder:
    """Where the folds of other processes leave their pulse, one small file each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = -EVERY

    def tell(self, name: str, pulse: Pulse) -> None:
        """Write it, or leave it where the last one is only just there."""
        if (now := time.monotonic()) - self.written < EVERY:
            return
        self.written = now
        with suppress(OSError):  # a full disk must not end a fold for its bar
            write_text(self.path / _file(name), json.dumps({"name": name, **asdict(pulse)}))

    def end(self, name: str) -> None:
        """The fold is no longer at work."""
        (self.path / _file(name)).unlink(missing_ok=True)
        self.written = -EVERY

    def read(self) -> Mapping[str, Pulse]:
        """By name, in the order of names."""
        found = {}
        for file in sorted(self.path.glob("*.json")):
            try:
                told = json.loads(file.read_text())
            except FileNotFoundError:  # it has ended just now
                continue
            name = str(told.pop("name"))
            found[name] = Pulse(**told)
        return found


def _file(name: str) -> str:
    return name.replace("/", " ") + ".json"
