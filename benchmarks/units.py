"""Unit costs of everything that grows with images, patients or trials, for estimates (docs/scaling.md).

python -m benchmarks.units
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torchvision import models

from experiment.core.partition import partition
from experiment.core.tables import SampleTable, predictions
from experiment.metrics.evidence import Cohort, intervals
from experiment.metrics.scores import summarise
from experiment.store.lease import Lease
from experiment.sweep.ledger import Ledger, Trial
from lightning_modules.networks import build_network
from lightning_modules.taps import POOLINGS

ROWS = (10_000, 100_000)
GROUPS = (1_000, 10_000)
TRIALS = 1_000


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Measure the seconds of this work."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def show(what: str, cost: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {cost} |", flush=True)


def cohort(rows: int) -> tuple[pd.DataFrame, SampleTable]:
    """Return an out-of-fold table of this many images, ten per patient, and its samples."""
    rng = np.random.default_rng(0)
    ids, target = [f"images/{row:07d}.png" for row in range(rows)], rng.integers(2, size=rows)
    samples = pd.DataFrame({"sample_id": ids, "target": target, "group": [row // 10 for row in range(rows)], "digest": ids})
    p = np.clip(0.5 + 0.2 * (target - 0.5) + 0.2 * rng.normal(size=rows), 0.01, 0.99)
    table = predictions(ids, np.stack([1 - p, p], axis=1), ("absent", "present"))
    names = np.array(["absent", "present"])[target]
    return table.assign(repeat=0, fold=np.arange(rows) % 5, target=names), SampleTable(
        samples, ("absent", "present"), "present", True
    )


def of_rows() -> None:
    """Measure the merge of folds."""
    for rows in ROWS:
        oof, samples = cohort(rows)
        show(f"metrics of {rows:,} out-of-fold rows", f"{seconds(summarise, oof, samples.classes, 'present'):.2f} s")
        show("their intervals by patient", f"{seconds(resampled, oof, samples):.1f} s")
    with tempfile.NamedTemporaryFile() as file:
        oof.to_parquet(file.name)
        show("an out-of-fold row on disk", f"{Path(file.name).stat().st_size / rows:.0f} B")


def resampled(oof: pd.DataFrame, samples: SampleTable) -> None:
    """Compute the intervals of a run, as its merge does."""
    intervals(Cohort.of({"model": oof}, samples).bootstrap("model"))


def of_groups() -> None:
    """Measure the partition into folds."""
    for groups in GROUPS:
        counts = np.random.default_rng(0).integers(1, 6, size=(groups, 2))
        show(f"one partition of {groups:,} patients", f"{seconds(partition, counts, [0.2] * 5, 2, 0):.2f} s")


def of_trials(folder: Path) -> None:
    """Measure the bookkeeping of sweeps and jobs."""
    ledger = Ledger.of(folder, "sweep", "question", ["val/auroc"])
    folds = {f"repeat-0/fold-{fold}": [0.9] for fold in range(5)}
    trials = [Trial(f"resnet-{number}", {"model.lr": "0.1"}, "complete", folds) for number in range(TRIALS)]
    show("a trial's note, written", f"{1e3 * np.mean([seconds(ledger.write, trial) for trial in trials]):.2f} ms")
    show(f"all notes of {TRIALS:,} trials, read", f"{seconds(ledger.trials):.2f} s")

    def take_and_release() -> None:
        lease = Lease.take(folder / "lease")
        assert lease is not None
        lease.give_back()

    show("a lease, acquired and released", f"{1e3 * np.mean([seconds(take_and_release) for _ in range(200)]):.2f} ms")
    try:
        import optuna
    except ImportError:
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db")

    def ask_and_tell() -> None:
        trial = study.ask()
        for name in ("a", "b", "c", "d"):
            trial.suggest_float(name, 0, 1)
        study.tell(trial, 0.5)

    costs = [1e3 * seconds(ask_and_tell) for _ in range(TRIALS)]
    show("a trial of four settings in Optuna's SQLite", f"{np.mean(costs[:100]):.0f} ms")
    show(f"the same with {TRIALS:,} trials there", f"{np.mean(costs[-100:]):.0f} ms")


def of_images() -> None:
    """Compute the sizes of entries in caches and runs."""
    for name in ("resnet18", "resnet50"):
        features = len(POOLINGS) * sum(tap.channels for tap in build_network("torchvision", name, None).taps)
        with torch.device("meta"):
            weights = sum(value.numel() for value in models.get_model(name).state_dict().values()) * 4
        show(f"{name}: features of an image", f"{features * 4 / 1e3:.1f} kB")
        show(f"{name}: a checkpoint", f"{weights / 1e6:.0f} MB")
    show("a decoded grey image of 224 px", f"{(224**2 + 16) / 1e3:.0f} kB")


def main() -> None:
    """Print a table."""
    print("| what | cost |\n|---|---|")
    of_rows()
    of_groups()
    with tempfile.TemporaryDirectory() as folder:
        of_trials(Path(folder))
    of_images()


if __name__ == "__main__":
    main()
