import dataclasses
import json
import re

import pandas as pd
import pytest
from finished_runs import finished_run

from experiment.core.errors import UserError
from experiment.store.finished import FinishedRun, write_samples


@pytest.fixture
def samples(make_samples):
    """24 images of 8 patients."""
    return make_samples([(2, 1), (1, 2)] * 4)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("classes", [("absent", "present"), ('<b>&"x', "a|b é")])
def test_samples_come_back_as_they_were_written(tmp_path, make_samples, grouped, classes):
    samples = dataclasses.replace(make_samples([(2, 1), (0, 3)], grouped), classes=classes, positive=classes[0])
    write_samples(samples, tmp_path / "samples.parquet")
    got = FinishedRun(tmp_path, "any").samples
    pd.testing.assert_frame_equal(got.rows, samples.rows, check_dtype=False)
    assert (got.classes, got.positive, got.grouped) == (classes, classes[0], grouped)
    assert samples.rows.attrs == {}  # of others nothing is changed


def test_a_folder_that_is_no_complete_run_is_named(tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path / 'half'))} is not a complete run"):
        FinishedRun.at(tmp_path / "half")


def test_what_was_written_is_read(tmp_path, samples):
    run = finished_run(tmp_path / "net-0", samples, name="net")
    assert run.title == "net"
    assert FinishedRun.at(run.path, "another").title == "another"
    assert len(run.oof) == 24
    assert set(run.splits["part"]) == {"fit", "val", "test"}
    assert run.scores["auroc"]["low"] == run.scores["auroc"]["value"] - 0.1
    assert run.config["folds"]["k"] == 3


def test_a_run_is_the_same_from_wherever_it_is_named(tmp_path, samples, monkeypatch):
    run = finished_run(tmp_path / "net-0", samples)
    monkeypatch.chdir(tmp_path)
    assert FinishedRun.at(run.path.relative_to(tmp_path)) == run


def test_fold_ten_comes_after_fold_nine(tmp_path):
    for repeat in (10, 2):
        for fold in (10, 9, 0):
            (tmp_path / f"repeat-{repeat}" / f"fold-{fold}").mkdir(parents=True)
            (tmp_path / f"repeat-{repeat}" / f"fold-{fold}" / "finished.json").write_text(json.dumps({"seconds": fold}))
    (tmp_path / "repeat-2" / "fold-3").mkdir()  # without its marker: not finished
    run = FinishedRun(tmp_path, "net")
    assert list(run.markers) == [f"repeat-{repeat}/fold-{fold}" for repeat in (2, 10) for fold in (0, 9, 10)]
    assert [marker["seconds"] for marker in run.markers.values()] == [0, 9, 10] * 2
    assert [(name, fold.path) for name, fold in run.folds()] == [(name, tmp_path / name) for name in run.markers]


def test_the_runs_that_one_is_built_on_come_deepest_first_and_each_once(tmp_path, samples):
    network = finished_run(tmp_path / "net-0", samples)
    svm = finished_run(tmp_path / "svm-0", samples, inputs={"network": network})
    both = finished_run(tmp_path / "both-0", samples, inputs={"net": network, "svm": svm}, name="both")
    top = finished_run(tmp_path / "top-0", samples, inputs={"both": both, "svm": svm}, name="top")
    assert {name: run.path for name, run in both.inputs().items()} == {"net": network.path, "svm": svm.path}
    assert [(run.title, run.path) for run in top.everyone()] == [
        ("net", network.path), ("svm", svm.path), ("both", both.path), ("top", top.path),
    ]  # fmt: skip
    assert network.everyone() == [network]


def test_a_run_whose_member_is_gone_says_so(tmp_path, samples):
    network = finished_run(tmp_path / "net-0", samples)
    svm = finished_run(tmp_path / "svm-0", samples, inputs={"network": network})
    (network.path / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"net-0 is not a complete run"):
        svm.everyone()


def test_curves_have_one_row_an_epoch_and_only_of_what_was_trained(tmp_path):
    for fold, table in enumerate(
        [
            # As Lightning's CSV logger leaves it: fit and val in rows of their own.
            {
                "epoch": [0, 0, 1, 1],
                "step": [1, 1, 3, 3],
                "train/loss": [4.0, None, 2.0, None],
                "val/loss": [None, 3, None, 1],
            },
            {"epoch": [0], "svm/C": [10.0]},
        ]
    ):
        folder = tmp_path / "repeat-0" / f"fold-{fold}"
        folder.mkdir(parents=True)
        (folder / "finished.json").write_text("{}")
        pd.DataFrame(table).to_csv(folder / "history.csv", index=False)
    (curves,) = FinishedRun(tmp_path, "net").curves().items()
    assert curves[0] == "repeat-0/fold-0"
    assert curves[1][["epoch", "train/loss", "val/loss"]].to_numpy().tolist() == [[0, 4, 3], [1, 2, 1]]
