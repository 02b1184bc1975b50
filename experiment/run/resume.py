"""Resume an interrupted fold from its last stored epoch, with the same final weights as without the interruption.

An epoch is stored in one file in a hidden folder next to the fold: Lightning's checkpoint, the state of every random number
generator, and the curves so far. It is written between two epochs, before anything of the next one is drawn.
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
from experiment.store.files import replacing

KEY = "resume"  # of the addition to Lightning's checkpoint


@dataclass(frozen=True)
class Unfinished:
    """The stored epochs of a fold that is being fitted."""

    folder: Path  # where; it exists only while an epoch is stored
    every: float | None  # seconds between two stored epochs, so that short fits pay nothing; 0 stores each, None none

    @property
    def epochs(self) -> int:
        """Return how many epochs need not be trained again."""
        return max((_epoch(file) for file in self.folder.glob("epoch-*.ckpt")), default=0)

    def checkpoint(self) -> Path | None:
        """Return the stored epoch, None without one; a file that cannot be read is removed."""
        if not (epochs := self.epochs):
            return None
        path = self.file(epochs)
        try:
            if KEY in torch.load(path, weights_only=True, mmap=True, map_location="cpu"):
                return path
        except Exception as error:  # whatever is wrong with it, the fold can be fitted from the start
            warnings.warn(f"{path} cannot be read ({error}); the fold starts again.", stacklevel=2)
        self.clear()
        return None

    def file(self, epochs: int) -> Path:
        """Return the file of the state after so many epochs."""
        return self.folder / f"epoch-{epochs}.ckpt"

    def clear(self) -> None:
        """Remove all stored epochs."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _epoch(file: Path) -> int:
    return int(file.stem.partition("-")[2])


class KeepEpochs(Callback):
    """Stores epochs of a fit, and resumes from the one that Lightning has loaded.

    It is the first of the callbacks, so that the others' work at the start of an epoch is repeated when it is resumed.
    The curves in `history` are stored and resumed too.
    """

    def __init__(self, unfinished: Unfinished, history: CSVLogger) -> None:
        self.unfinished, self.history = unfinished, history
        self.stored_at = time.monotonic()
        self.loaded: Mapping[str, Any] | None = None
        self.ended = False
        self.on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.loaded = checkpoint[KEY]
        rows = csv.DictReader(io.StringIO(checkpoint[KEY]["history"]))
        self.history.experiment.metrics = [{name: value for name, value in row.items() if value} for row in rows]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stored_at = time.monotonic()
        if self.loaded and self.loaded["ended"]:
            trainer.should_stop = True  # Lightning then takes no step, and starts no epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put back the handler of SIGTERM that Lightning has replaced.

        Lightning's would end the job after the epoch. But Slurm gives notice by this signal, and does not requeue a job that
        ends by itself: submitit's handler goes on. A worker's handler ends it at once.
        """
        if callable(self.on_sigterm) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.on_sigterm)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the last epoch, or resume from it: nothing of this epoch has been drawn yet."""
        if self.loaded:
            # Lightning would go on inside an epoch, with the batches that it drew before this hook.
            trainer.fit_loop.on_iteration_done()
            trainer.fit_loop.epoch_loop.restarting = False
            set_random_state(self.loaded["random"])
            self.loaded = None
        elif trainer.current_epoch:
            self._keep(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the last epoch: what comes after training may take long too."""
        self._keep(trainer, trainer.current_epoch, ended=True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random state of a resumed fit: other callbacks may draw random numbers now."""
        if self.loaded:
            set_random_state(self.loaded["random"])

    def _keep(self, trainer: Trainer, epochs: int, ended: bool = False) -> None:
        every = self.unfinished.every
        if every is None or time.monotonic() - self.stored_at < every:
            return
        self.ended = ended
        self.history.save()
        self.unfinished.folder.mkdir(parents=True, exist_ok=True)
        path = self.unfinished.file(epochs)
        with replacing(path) as temporary:
            trainer.save_checkpoint(temporary)
        for file in self.unfinished.folder.glob("epoch-*.ckpt"):
            if file != path:
                file.unlink(missing_ok=True)
        self.stored_at = time.monotonic()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        curves = Path(self.history.log_dir) / "metrics.csv"
        checkpoint[KEY] = {
            "random": random_state(),
            "history": curves.read_text() if curves.is_file() else "",
            "ended": self.ended,
        }
