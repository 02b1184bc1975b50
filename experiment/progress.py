"""What a person sees while folds are worked on: bars in a terminal, a line a fold in a log file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from experiment.tables import Split


class Progress:
    """Two bars: the job's folds (of all models) and the batches of the fold at work, with images per second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: Bars | None = None
        self.total = self.done = self.images = 0
        self.started = self.fitting_seconds = 0.0

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
        """Around the work on one fold of one model."""
        began = time.perf_counter()
        self.images, self.fitting_seconds = 0, 0.0
        if self.bars:
            task = self.bars.add_task(f"{title} {split.name}", total=None, note="")
            yield
            self.bars.remove_task(task)
            self.bars.advance(self.bars.task_ids[0])
        else:
            yield
        self.done += 1
        elapsed = time.perf_counter() - self.started
        left = elapsed / self.done * (self.total - self.done)
        rate = f", {self.images / self.fitting_seconds:.0f} images/s" if self.fitting_seconds else ""
        self.console.print(
            f"[{self.done}/{self.total}] {title} {split.name}: {time.perf_counter() - began:.1f} s{rate}; "
            f"about {left:.0f} s left",
            markup=False, highlight=False,
        )  # fmt: skip

    def callback(self) -> Callback:
        """A new callback that reports a Trainer's batches here."""
        return _Batches(self)


class _Batches(Callback):
    """Counts training batches and images."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        progress = self.progress
        progress.images += len(batch["image"])
        progress.fitting_seconds = time.perf_counter() - self.began
        if progress.bars:
            epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
            progress.bars.update(
                progress.bars.task_ids[-1],
                total=epochs * int(trainer.num_training_batches) if epochs else None,
                completed=trainer.global_step,
                note=f"epoch {trainer.current_epoch + 1}, {progress.images / progress.fitting_seconds:.0f} images/s",
            )
