"""A fold that was cut short goes on from the last epoch that was kept, and ends with the weights of one that was not.

An epoch is kept in one file in a hidden folder beside the fold: what Lightning's checkpoints hold, the state of every random
number generator, and the curves so far. It is written between two epochs, when nothing of the next one has been drawn yet.
"""

import csv
import io
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger

from experiment.run.random_state import random_state, set_random_state

KEY = "resume"  # of what is added to Lightning's checkpoint


@dataclass(frozen=True)
class Unfinished:
    """What is kept of a fold while it is fitted.

    Attributes:
        folder: where; it is there only while there is something to keep.
        every: seconds between two kept epochs, so that short fits pay nothing; 0 keeps each, None none.
    """

    folder: Path
    every: float | None

    @property
    def epochs(self) -> int:
        """How many epochs need not be trained again."""
        return max((_epoch(file) for file in self.folder.glob("epoch-*.ckpt")), default=0)

    def checkpoint(self) -> Path | None:
        """The kept epoch, if there is one and it can be read; what cannot be read is removed."""
        if not (epochs := self.epochs):
            return None
        path = self.file(epochs)
        try:
            if KEY in torch.load(path, weights_only=True, mmap=True, map_location="cpu"):
                return path
        except Exception as error:  # whatever is wrong with it, the fold can be fitted from the start
            warnings.warn(f"{path} cannot be read ({error}); the fold starts anew.", stacklevel=2)
        self.clear()
        return None

    def file(self, epochs: int) -> Path:
        """Where the state after so many epochs is kept."""
        return self.folder / f"epoch-{epochs}.ckpt"

    def clear(self) -> None:
        """Nothing of it is needed any longer."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _epoch(file: Path) -> int:
    return int(file.stem.partition("-")[2])


class KeepEpochs(Callback):
    """Keeps epochs of a fit, and takes up the one that Lightning has loaded.

    It comes first among the callbacks: what others do at the start of an epoch, they do again when that epoch is taken up.

    Args:
        unfinished: where, and how often.
        history: the fit's curves, which are kept and go on too.
    """

    def __init__(self, unfinished: Unfinished, history: CSVLogger) -> None:
        self.unfinished, self.history = unfinished, history
        self.kept = time.monotonic()
        self.loaded: Mapping[str, Any] | None = None
        self.ended = False
        self.on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.loaded = checkpoint[KEY]
        rows = csv.DictReader(io.StringIO(checkpoint[KEY]["history"]))
        self.history.experiment.metrics = [{name: value for name, value in row.items() if value} for row in rows]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.kept = time.monotonic()
        if self.loaded and self.loaded["ended"]:
            trainer.should_stop = True  # Lightning then takes no step, and starts no epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has put its own answer to SIGTERM in the place of whoever started this process.

        It would end the job after the epoch. But Slurm gives notice by this signal, and does not queue a job again that ends
        by itself: submitit's answer is to go on. A process among others is to end at once.
        """
        if callable(self.on_sigterm) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.on_sigterm)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing of this epoch has been drawn: it is as the last one has left it, and here it is taken up again."""
        if self.loaded:
            # Lightning would go on inside an epoch, with the batches that it drew before this hook.
            trainer.fit_loop.on_iteration_done()
            trainer.fit_loop.epoch_loop.restarting = False
            set_random_state(self.loaded["random"])
            self.loaded = None
        elif trainer.current_epoch:
            self._keep(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes after training may take long too."""
        self._keep(trainer, trainer.current_epoch, ended=True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What other callbacks do now may draw random numbers."""
        if self.loaded:
            set_random_state(self.loaded["random"])

    def _keep(self, trainer: Trainer, epochs: int, ended: bool = False) -> None:
        every = self.unfinished.every
        if every is None or time.monotonic() - self.kept < every:
            return
        self.ended = ended
        self.history.save()
        self.unfinished.folder.mkdir(parents=True, exist_ok=True)
        beside = self.unfinished.folder / "new.ckpt"  # who fits the fold holds its lease: nobody else writes here
        trainer.save_checkpoint(beside)
        older = list(self.unfinished.folder.glob("epoch-*.ckpt"))
        beside.replace(self.unfinished.file(epochs))
        for file in older:
            if file != self.unfinished.file(epochs):
                file.unlink(missing_ok=True)
        self.kept = time.monotonic()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        curves = Path(self.history.log_dir) / "metrics.csv"
        checkpoint[KEY] = {
            "random": random_state(),
            "history": curves.read_text() if curves.is_file() else "",
            "ended": self.ended,
        }
