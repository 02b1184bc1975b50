"""What a person sees while folds are worked on: bars in a terminal, a line a fold in a log file."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from experiment.console.pulses import EVERY, Folder, Pulse
from experiment.evaluation.cost import cost, duration
from experiment.processes import ranks
from experiment.stages import spend
from experiment.store.lease import Holder
from experiment.tables import Split


class Progress:
    """A bar of the job's folds (of all models), and one of the batches of each fold at work, with images per second.

    Args:
        console: where they are shown.
        least: seconds below which a fold is not worth a line.
    """

    def __init__(self, console: Console, least: float = 0.0) -> None:
        self.console, self.least = console, least
        self.bars: Bars | None = None
        self.shown: dict[str, TaskID] = {}
        self.folder: Folder | None = None
        self.name = ""
        self.total = self.done = self.images = self.steps = 0
        self.started = self.began = 0.0
        self.waiting = Counter[str]()
        self.took = defaultdict[str, list[float]](list)
        self.told: set[tuple[str, str, str]] = set()

    @contextmanager
    def job(self, titles: Sequence[str]) -> Iterator[None]:
        """Around all the work; `titles` names the model of each missing fold."""
        self.total, self.done, self.started = len(titles), 0, time.perf_counter()
        self.waiting, self.took = Counter(titles), defaultdict(list)
        if not self.console.is_terminal or not titles:
            yield
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[note]}"), _Left(),
        )  # fmt: skip
        with Bars(*columns, console=self.console, transient=True) as self.bars:
            self.bars.add_task("folds", total=len(titles), note="", ends=None)
            yield
        self.bars, self.shown = None, {}

    @contextmanager
    def others(self) -> Iterator[Path | None]:
        """Around work in other processes: the folder in which they tell how far they are, None where nobody looks on."""
        if not self.bars:
            yield None
            return
        over = threading.Event()
        with TemporaryDirectory() as path:
            folder = Folder(Path(path))

            def look() -> None:
                while not over.wait(EVERY):
                    self._show(folder.read())

            looking = threading.Thread(target=look, daemon=True)
            looking.start()
            try:
                yield folder.path
            finally:
                over.set()
                looking.join()

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
        else:
            self._show({})

    def trained(self, images: int, step: int, steps: int | None, epoch: int) -> None:
        """A batch of so many images was trained on, batch `step` of `steps` of the fold at work."""
        self.images, self.steps = self.images + images, self.steps + 1
        spent = time.perf_counter() - self.began
        left = spent / self.steps * (steps - step) if steps else None
        self._at(Pulse(step, steps, epoch, self.images / spent, left))

    def _at(self, pulse: Pulse) -> None:
        if self.folder:
            self.folder.tell(self.name, pulse)
        else:
            self._show({self.name: pulse})

    def _show(self, pulses: Mapping[str, Pulse]) -> None:
        """A bar for each of these folds, and no others."""
        if not self.bars:
            return
        for name in self.shown.keys() - pulses.keys():
            self.bars.remove_task(self.shown.pop(name))
        for name, pulse in pulses.items():
            if name not in self.shown:
                self.shown[name] = self.bars.add_task(name, total=None, note="", ends=None)
            if pulse.step:
                self.bars.update(
                    self.shown[name], total=pulse.steps, completed=pulse.step, ends=_ends(pulse.left),
                    note=f"epoch {pulse.epoch}, {pulse.rate:.0f} images/s,",
                )  # fmt: skip

    def finished(self, title: str, split: Split, marker: Mapping[str, Any]) -> None:
        """A fold that is finished, here or in another process, with what was noted of it."""
        self.done += 1
        self.waiting[title] -= 1
        self.took[title].append(marker["seconds"])
        left = self.left()
        if self.bars:
            self.bars.update(self.bars.task_ids[0], advance=1, ends=_ends(left))
        if marker["seconds"] < self.least:
            return
        spent = cost([marker])
        rate, busy = spent["images_per_second"].get("train"), spent.get("model_busy")
        notes = (f", {rate:.0f} images/s" if rate else "") + (f", model busy {busy:.0%}" if busy else "")
        self.console.print(
            f"[{self.done}/{self.total}] {title} {split.name}: {marker['seconds']:.1f} s{notes}; about {duration(left)} left",
            markup=False, highlight=False,
        )  # fmt: skip

    def left(self) -> float:
        """Seconds, from what folds of the same model took and how many were worked on at a time.

        Models of which no fold is finished are left out: those with the most work come first.
        """
        at_once = max(1.0, sum(map(sum, self.took.values())) / max(time.perf_counter() - self.started, 1e-9))
        return sum(self.waiting[title] * sum(took) / len(took) for title, took in self.took.items()) / at_once

    def held(self, title: str, split: Split, holder: Holder | None) -> None:
        """A fold that another job is at; said once for each holder."""
        if holder is None or (told := (title, split.name, str(holder))) in self.told:
            return
        self.told.add(told)
        self.console.print(f"{title} {split.name}: {holder} is at it; it comes last", markup=False, highlight=False)

    def callback(self) -> Callback:
        """A new callback that reports a Trainer's batches here."""
        return _Batches(self)


class _Left(ProgressColumn):
    """What is left of the time that was estimated last."""

    def render(self, task: Task) -> Text:
        ends = task.fields["ends"]
        return Text("" if ends is None else f"about {duration(max(0.0, ends - time.perf_counter()))} left")


def _ends(left: float | None) -> float | None:
    return None if left is None else time.perf_counter() + left


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
        now = time.perf_counter()
        spend("model", now - self.since)
        self.since = now
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        self.progress.trained(
            len(batch["image"]) * ranks.size(),
            trainer.global_step,
            epochs * int(trainer.num_training_batches) if epochs else None,
            trainer.current_epoch + 1,
        )
