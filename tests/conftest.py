"""Small things that many tests share: tiny images, one fold."""

import gc
import os
from collections.abc import Iterator

from experiment.run.cores import sleep_while_waiting

os.environ.setdefault("WANDB_MODE", "offline")
sleep_while_waiting()

import pandas as pd
import pytest
import torch

from datamodules.synthetic import SyntheticDataModule
from experiment.core.folds import FoldScheme, Splits
from experiment.terminal import consoles as terminal

terminal.quiet()
THREADS = 2
torch.set_num_threads(THREADS)


def pytest_collection_finish() -> None:
    """Folds collect garbage when they end, in seconds where all that pytest has made is looked through."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True)
def as_if_no_job_had_run() -> Iterator[None]:
    """A job sets as many threads as suit its folds."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def tiny_data() -> SyntheticDataModule:
    """60 images of 12 patients, 32 px; loaded."""
    data = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8)
    data.load()
    return data


@pytest.fixture(scope="session")
def tiny_splits(tiny_data: SyntheticDataModule) -> Splits:
    """Two grouped folds with val."""
    return FoldScheme(k=2, val=0.3).split(tiny_data.samples, seed=0)


@pytest.fixture
def read_oof():
    """Reads a run's out-of-fold table in a fixed order of rows."""

    def read(run: object) -> pd.DataFrame:
        table = pd.read_parquet(f"{run}/oof.parquet")
        return table.sort_values(["repeat", "sample_id"], ignore_index=True)

    return read
