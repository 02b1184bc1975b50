"""The same command again: a job that is finished, and of which nothing changed since, is told from its files at once.

Whether the images are the same is known for certain only when they are read. Here, as in `make`, a file is the same while its
size and time of change are.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.core.build import build
from experiment.core.environment import source
from experiment.core.identity import digest
from experiment.run.job import describe
from experiment.store.files import write_text
from experiment.store.results import Published, Result
from experiment.store.runs import Run
from experiment.terminal.consoles import err, out
from experiment.terminal.summary import print_published, print_results

FOLDER = "commands"  # below the runs


@dataclass(frozen=True)
class Command:
    """A command, named by its config, the state of the files that the config names, and the code.

    Attributes:
        memory: the file that says what came of it, once it is finished; None for one that is not remembered.
    """

    memory: Path | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Command":
        """The command with this resolved config, as its files are now: ask before they are read."""
        own = {os.path.realpath(path) for path in config["paths"].values() if isinstance(path, str)}
        files = {path: list(_state(path, own)) for path in sorted(set(_named(config, own)))}
        return cls(Path(config["paths"]["runs"]).resolve() / FOLDER / f"{digest([config, files, source()])}.json")

    def results(self) -> list[Result] | None:
        """What came of the job; None if it is not finished or something of it was taken away."""
        if self.memory is None or not self.memory.is_file():
            return None
        results = []
        for told in json.loads(self.memory.read_text()):
            path = Path(os.path.normpath(self.memory.parent / told["run"]))
            if not all((path / name).is_file() for name in told["files"]):
                return None
            run = Run.load(path, told["title"])
            results.append(Result(run.title, run, told["folds"], told["folds"], run.scores, run.cost))
        return results

    def finished(self, results: Sequence[Result]) -> None:
        """Remember a job of which nothing is left to do."""
        if self.memory is None:
            return
        told = [
            {
                "title": result.title,
                "run": os.path.relpath(result.run.path, self.memory.parent),  # the folder of all runs may be moved
                "folds": result.folds,
                "files": sorted(str(p.relative_to(result.run.path)) for p in result.run.path.rglob("*") if p.is_file()),
            }
            for result in results
        ]
        self.memory.parent.mkdir(exist_ok=True)
        write_text(self.memory, json.dumps(told))


def repeat(command: Command, config: Mapping[str, Any]) -> list[Result] | None:
    """Say again what a finished command said; None if there is something to do."""
    scheme = build(config["folds"])
    if (results := command.results()) is None:
        return None
    last = results[-1].run
    err.print(describe(last.samples, scheme), highlight=False)
    print_results(results, out)
    print_published(Published.load(last), out)
    return results


def _named(value: Any, own: Set[str]) -> Iterator[str]:
    """Files and folders that stand anywhere in a config, but for those below its own folders, which it writes."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _named(inner, own)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, own)
    elif isinstance(value, str) and value:
        path = os.path.realpath(os.path.expanduser(value))
        if os.path.exists(path) and not any(Path(path).is_relative_to(folder) for folder in own):
            yield path


def _state(path: str, own: Set[str]) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of all files in a folder."""
    if os.path.isfile(path):
        yield _stat(path)
    seen = set(own)
    for folder, folders, names in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link may lead round in a circle
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            yield _stat(os.path.join(folder, name))


def _stat(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:  # a link to nowhere
        return path, -1, -1
    return path, found.st_size, found.st_mtime_ns
