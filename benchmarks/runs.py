"""Run of one setting: its command and its result."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Finished
from benchmarks.settings import ALL, BARE, Job, Script
from benchmarks.tables import Measurement


@dataclass(frozen=True)
class Question:
    """Parameters that all settings share.

    Attributes:
        data: folder with ``labels.csv`` (image, label, group).
        weights: file of a ResNet-18 state dict.
        image_size: side of the images.
        epochs: epochs of fine-tuning.
        workers: number of processes that decode for the plain scripts.
        images: number of images.
    """

    data: Path
    weights: Path
    image_size: int
    epochs: int
    workers: int
    images: int

    @classmethod
    def of(cls, data: Path, weights: Path, image_size: int, epochs: int, workers: int) -> "Question":
        """Build the question, counting the images.

        Raises:
            OSError: a file does not exist.
        """
        weights.resolve(strict=True)
        with (data / "labels.csv").open(newline="", encoding="utf-8-sig") as text:
            images = sum(1 for _ in csv.DictReader(text))
        return cls(data.resolve(), weights.resolve(), image_size, epochs, workers, images)

    def script(self, setting: Script) -> list[str]:
        """Return the command of a script."""
        size = ["--image-size", str(self.image_size)]
        if setting is ALL[BARE]:
            return [sys.executable, "-m", setting.module, *size, "--images", str(self.images)]
        same = ["--data", str(self.data), "--weights", str(self.weights), "--epochs", str(self.epochs), *size]
        return [sys.executable, "-m", setting.module, *same, "--workers", str(self.workers), *setting.arguments]

    def job(self, setting: Job, data: Path, runs: Path) -> list[str]:
        """Return the command of a job of the project."""
        same = [
            "data=folder", f"data.root={data}", f"data.image_size={self.image_size}", f"trunk.weights={self.weights}",
            f"trainer.max_epochs={self.epochs}", "trainer=cpu", "logger=none", f"paths.runs={runs}",
        ]  # fmt: skip
        return [sys.executable, "train.py", *same, *setting.overrides]


def script_result(process: Finished) -> Measurement:
    """Read a script's JSON: scores of its ensemble, or of its only model."""
    result = json.loads(process.stdout.splitlines()[-1])
    scores = list(result.get("scores", {}).values())
    return _measurement(process, scores[-1] if scores else {}, result["seconds"]["features"])


def job_result(process: Finished) -> Measurement:
    """Read scores and seconds of stages from the run that the job's last line names."""
    run = Path(process.stdout.splitlines()[-1].removeprefix("run: "))
    scores = json.loads((run / "metrics.json").read_text())
    values = {name: scores[name]["value"] for name in ("balanced_accuracy", "auroc")}
    return _measurement(process, values, sum(_seconds_of_features(run)))


def _seconds_of_features(run: Path) -> Iterator[float]:
    """Yield the seconds of each fold; of the whole fold if it has no record of stages."""
    for marker in run.glob("repeat-*/fold-*/finished.json"):
        fold = json.loads(marker.read_text())
        yield fold["stages"].get("features", 0.0) if "stages" in fold else fold["seconds"]


def _measurement(process: Finished, scores: dict[str, float], features: float) -> Measurement:
    score = (scores.get("balanced_accuracy"), scores.get("auroc"))
    return Measurement(process.seconds, process.cpu_seconds, process.peak_gb, *score, features)
