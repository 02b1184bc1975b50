import csv

import numpy as np
import pandas as pd

from experiment.tracking.trackers import CSVTracker, Summary, Tracker

FOLD = "repeat-0/fold-1"
SCORES = {
    "auroc": {"value": 0.5, "low": 0.375, "high": 0.625, "mean": 0.25, "sd": 0.125},
    "f1": {"value": 1.0, "low": 0.75, "high": 1.0, "mean": 1.0, "sd": 0.0},
}


def shown(run):
    return Summary(
        run, {}, SCORES, {}, [], pd.DataFrame(), 1.0, {"val/auroc": 0.5}, True, [], lambda sample: np.zeros((1, 1), np.uint8)
    )


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_curves_and_scores_of_a_fold_stand_in_one_file(tmp_path):
    tracker = CSVTracker()
    with tracker.fold(tmp_path, FOLD, {}) as logger:
        logger.log_metrics({"val/loss": 0.5}, step=1)
        tracker.fold_scores(logger, {"auroc": 0.75})
    rows = read(tmp_path / "csv" / "repeat-0-fold-1" / "metrics.csv")
    assert [row["val/loss"] for row in rows if row["val/loss"]] == ["0.5"]
    assert [row["test/auroc"] for row in rows if row["test/auroc"]] == ["0.75"]


def test_csv_summary_has_a_row_a_metric(tmp_path):
    assert CSVTracker().summary(shown(tmp_path))
    assert read(tmp_path / "csv" / "summary.csv") == [
        {"metric": "auroc", "value": "0.5", "low": "0.375", "high": "0.625", "mean": "0.25", "sd": "0.125"},
        {"metric": "f1", "value": "1.0", "low": "0.75", "high": "1.0", "mean": "1.0", "sd": "0.0"},
    ]


def test_a_csv_summary_replaces_the_one_before(tmp_path):
    tracker = CSVTracker()
    tracker.summary(shown(tmp_path))
    tracker.summary(shown(tmp_path))
    assert [row["metric"] for row in read(tmp_path / "csv" / "summary.csv")] == ["auroc", "f1"]


def test_no_tracker_yields_no_logger_and_writes_nothing(tmp_path):
    tracker = Trackers()
    with tracker.fold(tmp_path, FOLD, {}) as logger:
        assert logger is None
        tracker.fold_scores(logger, {"auroc": 0.5})
    assert not tracker.summary(shown(tmp_path))
    assert tracker.name is None
    assert tracker.close() is None
    assert list(tmp_path.iterdir()) == []
