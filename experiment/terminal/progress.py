"""Progress of folds: one bar over all epochs in a terminal, and a line per finished fold."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich import progress as bars
from rich.console import Console

from experiment.core.cost import cost, duration
from experiment.core.tables import Split
from experiment.core.timing import record_step
from experiment.store.lease import Holder

Report = Callable[[str, str, int], None]


class Progress:
    """Progress of a job, in this process and in its workers.

    Folds that take less than `least` seconds have no line. A worker passes its epochs on to the first process by `report`.
    """

    def __init__(self, console: Console, least: float = 0.0, report: Report | None = None) -> None:
        self.console, self.least, self.report = console, least, report
        self.done = self.total = 0  # folds
        self.epochs: dict[str, int] = {}  # of a fold, by model
        self.running: dict[tuple[str, str], int] = {}  # epochs trained so far, by model and fold
        self.completed = 0  # epochs of finished folds
        self.announced: set[tuple[str, str, str]] = set()
        self.bar = bars.Progress(
            bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TaskProgressColumn(),
            bars.TimeElapsedColumn(), bars.TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip

    @contextmanager
    def job(self, folds: Sequence[tuple[str, int]]) -> Iterator[None]:
        """Show the bar during the block, over the epochs of `folds`: model and epochs of each missing fold."""
        self.done, self.total, self.epochs, self.completed = 0, len(folds), dict(folds), 0
        self.task = self.bar.add_task("", total=sum(epochs for _, epochs in folds), visible=bool(folds))
        self.started = time.monotonic()
        self._show()
        with self.bar:
            yield
        self.bar.remove_task(self.task)

    def _show(self) -> None:
        completed = self.completed + sum(self.running.values())
        self.bar.update(self.task, description=f"{self.done}/{self.total} folds", completed=completed)

    def epoch(self, title: str, fold: str, epochs: int) -> None:
        """Note how many epochs a model has trained on a fold, here or in a worker."""
        if self.report:
            self.report(title, fold, epochs)
        else:
            self.running[title, fold] = epochs
            self._show()

    def finished(self, title: str, split: Split, marker: Mapping[str, Any]) -> None:
        """Note a fold that is finished, here or in a worker, and print its line."""
        self.done += 1
        self.running.pop((title, split.name), None)
        self.completed += self.epochs[title]
        self._show()
        if marker["seconds"] < self.least:
            return
        job = self.bar.tasks[0]
        left = (time.monotonic() - self.started) * (job.remaining or 0) / job.completed  # if all epochs take the same time
        spent = cost([marker])
        rate, busy = spent["images_per_second"].get("train"), spent.get("model_busy")
        notes = (f", {rate:.0f} images/s" if rate else "") + (f", model busy {busy:.0%}" if busy else "")
        self.console.print(
            f"[{self.done}/{self.total}] {title} {split.name}: {marker['seconds']:.1f} s{notes}; about {duration(left)} left",
            markup=False, highlight=False,
        )  # fmt: skip

    def note(self, text: str) -> None:
        """Print a line; in a sweep none, where finished folds are the rule."""
        if not self.least:
            self.console.print(text, markup=False, highlight=False)

    def waiting(self, title: str, split: Split, holder: Holder | None) -> None:
        """Say once for each holder that another job works on a fold."""
        if holder is None or (announced := (title, split.name, str(holder))) in self.announced:
            return
        self.announced.add(announced)
        self.console.print(f"{title} {split.name}: {holder} works on it; it comes last", markup=False, highlight=False)

    def callback(self, title: str, split: Split) -> Callback:
        """Return a new callback that notes the epochs of a model on a fold."""
        return Timing(lambda epochs: self.epoch(title, split.name, epochs))


class Timing(Callback):
    """Records the time of training steps in the model and of waiting for images; reports the number of epochs after each."""

    def __init__(self, on_epoch: Callable[[int], None]) -> None:
        self.on_epoch = on_epoch
        self.since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._record("loader")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._record("model")

    def _record(self, step: str) -> None:
        now = time.perf_counter()
        record_step(step, now - self.since)
        self.since = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_epoch(trainer.current_epoch + 1)
