"""Results of a tiny run, as the engine hands them to trackers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiment.tracking.summary import Summary
from experiment.tracking.trackers import Tracked

SCORES = {
    "auroc": {"value": 0.5, "low": 0.375, "high": 0.625, "mean": 0.25, "sd": 0.125},
    "f1": {"value": 1.0, "low": 0.75, "high": 1.0, "mean": 1.0, "sd": 0.0},
}
EVIDENCE = {
    "calibration": {"ece": 0.0625, "predicted": [0.25, 0.75], "observed": [0.0, 1.0], "count": [2, 2]},
    "operating": {"sensitivity_at_specificity_0.9": 0.875},
    "curves": {name: {"x": [0.0, 1.0], "y": [0.0, 1.0]} for name in ("roc", "pr", "decision")},
}
COST = {"seconds": 1.5, "stages": {"train": 1.0}, "images_per_second": {"train": 4.0}}
PAIRS = [
    {"first": "net", "second": "svm", "metric": "auroc", "difference": 0.25, "low": 0.0, "high": 0.5, "p_holm": 0.5},
    {"first": "mean", "second": "net", "metric": "auroc", "difference": 0.125, "low": 0.0, "high": 0.25, "p_holm": 1.0},
]
OOF = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"], "repeat": 0, "fold": [0, 0, 1, 1], "target": ["no", "no", "yes", "yes"],
        "p/no": [0.9, 0.2, 0.4, 0.7], "p/yes": [0.1, 0.8, 0.6, 0.3],
    }
)  # fmt: skip


def picture(sample):
    return np.full((2, 2), ord(sample), np.uint8)


@pytest.fixture(scope="session")
def tracked():
    """A model of a job, as trackers show it."""

    def make(run, **changes):
        made = Tracked(run, "net", {"model": {"lr": 0.1, "taps": ["layer2"]}, "samples": {"images": 4}}, "lr=0.1 trunk=a/b")
        return dataclasses.replace(made, **changes)

    return make


@pytest.fixture(scope="session")
def shown(tracked):
    """A complete run, as trackers show it."""

    def make(run, **changes):
        summary = Summary(
            tracked=tracked(run), folds=2, scores=SCORES, evidence=EVIDENCE, pairs=PAIRS, oof=OOF, cost=COST,
            objective={"val/auroc": 0.875}, asked=True, files=[run / "oof.parquet", run / "report.html"], picture=picture,
        )  # fmt: skip
        return dataclasses.replace(summary, **changes)

    return make
