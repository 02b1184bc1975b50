"""What a person sees while folds are worked on: bars in a terminal, a line a fold in a log file."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from experiment.evaluation.cost import cost
from experiment.processes import ranks
from experiment.stages import spend
from experiment.store.lease import Holder
from experiment.tables import Split


class Progress:
    """Two bars: the job's folds (of all models) and the batches of the fold at work, with images per second.

    Args:
        console: where they are shown.
        least: seconds below which a fold is not worth a line.
    """

    def __init__(self, console: Console, least: float = 0.0) -> None:
        self.console, self.least = console, least
        self.bars: Bars | None = None
        self.total = self.done = self.images = 0
        self.started = self.began = 0.0
        self.told: set[tuple[str, str, str]] = set()

    @contextmanager
    def job(self, folds: int) -> Iterator[None]:
        """Around all the work; `folds` counts the missing folds of all models."""
        self.total, self.done, self.started = folds, 0, time.perf_counter()
        if not self.console.is_terminal or not folds:
            yield
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Bars(*columns, console=self.console, transient=True, speed_estimate_period=3600) as self.bars:
            self.bars.add_task("folds", total=folds, note="")
            yield
        self.bars = None

    @contextmanager
    def fold(self, title: str, split: Split) -> Iterator[None]:
        """Around the work on one fold of one model in this process."""
        if not self.bars:
            yield
            return
        self.images, self.began = 0, time.perf_counter()
        task = self.bars.add_task(f"{title} {split.name}", total=None, note="")
        yield
        self.bars.remove_task(task)

    def finished(self, title: str, split: Split, marker: Mapping[str, Any]) -> None:
        """A fold that is finished, here or in another process, with what was noted of it."""
        self.done += 1
        if self.bars:
            self.bars.advance(self.bars.task_ids[0])
        if marker["seconds"] < self.least:
            return
        left = (time.perf_counter() - self.started) / self.done * (self.total - self.done)
        spent = cost([marker])
        rate, busy = spent["images_per_second"].get("train"), spent.get("model_busy")
        notes = (f", {rate:.0f} images/s" if rate else "") + (f", model busy {busy:.0%}" if busy else "")
        self.console.print(
            f"[{self.done}/{self.total}] {title} {split.name}: {marker['seconds']:.1f} s{notes}; about {left:.0f} s left",
            markup=False, highlight=False,
        )  # fmt: skip

    def held(self, title: str, split: Split, holder: Holder | None) -> None:
        """A fold that another job is at; said once for each holder."""
        if holder is None or (told := (title, split.name, str(holder))) in self.told:
            return
        self.told.add(told)
        self.console.print(f"{title} {split.name}: {holder} is at it; it comes last", markup=False, highlight=False)

    def callback(self) -> Callback:
        """A new callback that reports a Trainer's batches here."""
        return _Batches(self)


class _Batches(Callback):
    """Counts training images, and the time the model waits for them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stepping = self.since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        spend("loader", now - self.since)
        self.since = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, progress = time.perf_counter(), self.progress
        spend("model", now - self.since)
        self.since = now
        progress.images += len(batch["image"]) * ranks.size()
        if progress.bars:
            epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
            progress.bars.update(
                progress.bars.task_ids[-1],
                total=epochs * int(trainer.num_training_batches) if epochs else None,
                completed=trainer.global_step,
                note=f"epoch {trainer.current_epoch + 1}, {progress.images / (now - progress.began):.0f} images/s",
            )
