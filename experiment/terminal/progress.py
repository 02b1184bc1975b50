"""What a person sees while folds are worked on: bars in a terminal, a line a fold in a log file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console

from experiment.core.cost import cost, duration
from experiment.core.tables import Split
from experiment.core.timing import spend
from experiment.store.lease import Holder
from experiment.terminal.bars import FoldBars
from experiment.terminal.pulses import Folder, Pulse
from experiment.terminal.remaining import Remaining


class Progress:
    """How far a job is: what is finished, and the folds at work in this process and in others.

    Args:
        console: where it is shown.
        least: seconds below which a fold is not worth a line.
    """

    def __init__(self, console: Console, least: float = 0.0) -> None:
        self.console, self.least = console, least
        self.remaining = Remaining([])
        self.bars: FoldBars | None = None
        self.folder: Folder | None = None
        self.told: set[tuple[str, str, str]] = set()

    @contextmanager
    def job(self, titles: Sequence[str]) -> Iterator[None]:
        """Around all the work; `titles` names the model of each missing fold."""
        self.remaining = Remaining(titles)
        if not self.console.is_terminal or not titles:
            yield
            return
        self.bars = FoldBars(self.console, len(titles))
        with self.bars.bars:
            yield
        self.bars = None

    @contextmanager
    def others(self) -> Iterator[Path | None]:
        """Around work in other processes: the folder in which they tell how far they are, None where nobody looks on."""
        if not self.bars:
            yield None
            return
        with TemporaryDirectory() as path, self.bars.looking(Folder(Path(path)).read):
            yield Path(path)

    def tell_in(self, path: Path | None) -> None:
        """In another process: leave there how far its folds are."""
        self.folder = Folder(path) if path else None

    @contextmanager
    def fold(self, title: str, split: Split) -> Iterator[None]:
        """Around the work on one fold of one model in this process."""
        self.name, self.images, self.steps, self.began = f"{title} {split.name}", 0, 0, time.perf_counter()
        self._at(Pulse())
        yield
        if self.folder:
            self.folder.end(self.name)
        elif self.bars:
            self.bars.show({})

    def trained(self, images: int, step: int, steps: int | None, epoch: int) -> None:
        """A batch of so many images was trained on, batch `step` of `steps` of the fold at work."""
        self.images, self.steps = self.images + images, self.steps + 1
        spent = time.perf_counter() - self.began
        left = spent / self.steps * (steps - step) if steps else None
        self._at(Pulse(step, steps, epoch, self.images / spent, left))

    def _at(self, pulse: Pulse) -> None:
        if self.folder:
            self.folder.tell(self.name, pulse)
        elif self.bars:
            self.bars.show({self.name: pulse})

    def finished(self, title: str, split: Split, marker: Mapping[str, Any]) -> None:
        """A fold that is finished, here or in another process, with what was noted of it."""
        self.remaining.finished(title, marker["seconds"])
        left = self.remaining.seconds
        if self.bars:
            self.bars.finished(left)
        if marker["seconds"] < self.least:
            return
        spent = cost([marker])
        rate, busy = spent["images_per_second"].get("train"), spent.get("model_busy")
        notes = (f", {rate:.0f} images/s" if rate else "") + (f", model busy {busy:.0%}" if busy else "")
        self.console.print(
            f"[{self.remaining.done}/{self.remaining.total}] {title} {split.name}: {marker['seconds']:.1f} s{notes}; "
            f"about {duration(left)} left",
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
        return Timing(self)


class Timing(Callback):
    """Counts training images, and the time the model waits for them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        spend("loader", now - self.since)
        self.since = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        spend("model", now - self.since)
        self.since = now
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        self.progress.trained(
            len(batch["image"]),
            trainer.global_step,
            epochs * int(trainer.num_training_batches) if epochs else None,
            trainer.current_epoch + 1,
        )
