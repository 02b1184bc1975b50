"""Bars in a terminal: one of the job's folds, and one of the batches of each fold at work."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from experiment.core.cost import duration
from experiment.terminal.pulses import EVERY, Pulse


class FoldBars:
    """They go away at the end.

    Args:
        console: a terminal.
        folds: of all models, how many are missing.
    """

    def __init__(self, console: Console, folds: int) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[note]}"), _Left(),
        )  # fmt: skip
        self.bars = Progress(*columns, console=console, transient=True)
        self.folds = self._added("folds", folds)
        self.of_fold: dict[str, TaskID] = {}

    def _added(self, name: str, total: int | None) -> TaskID:
        return self.bars.add_task(name, total=total, note="", ends=None)

    def finished(self, left: float) -> None:
        """One fold more, and the seconds that all others will take."""
        self.bars.update(self.folds, advance=1, ends=_ends(left))

    def show(self, pulses: Mapping[str, Pulse]) -> None:
        """A bar for each of these folds, and no others."""
        for name in self.of_fold.keys() - pulses.keys():
            self.bars.remove_task(self.of_fold.pop(name))
        for name, pulse in pulses.items():
            if name not in self.of_fold:
                self.of_fold[name] = self._added(name, None)
            if pulse.step:
                note = f"epoch {pulse.epoch}, {pulse.rate:.0f} images/s,"
                self.bars.update(
                    self.of_fold[name], total=pulse.steps, completed=pulse.step, note=note, ends=_ends(pulse.left)
                )

    @contextmanager
    def looking(self, read: Callable[[], Mapping[str, Pulse]]) -> Iterator[None]:
        """Show again and again what `read` gives."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(EVERY):
                self.show(read())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class _Left(ProgressColumn):
    """What is left of the time that was estimated last."""

    def render(self, task: Task) -> Text:
        ends = task.fields["ends"]
        return Text("" if ends is None else f"about {duration(max(0.0, ends - time.perf_counter()))} left")


def _ends(left: float | None) -> float | None:
    return None if left is None else time.perf_counter() + left
