"""The folder of a run: its folds are written one by one, and read back with the rest once all are finished."""

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import finished_run

from experiment.core.errors import UserError
from experiment.core.tables import FinishedFold, Split
from experiment.store.runs import IDENTITY, MARKER, Run, write_samples

SPLIT = Split(0, 3, (), (), ())
RECORD = {"model": {"lr": 0.1}, "seed": 1}


@pytest.fixture
def run(tmp_path):
    return Run.of(tmp_path, "net", RECORD, {})


def finish(run, text, marker=None):
    with run.writing(SPLIT, marker or {}) as folder:
        (folder / "model.ckpt").write_text(text)


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_record_finds_the_same_folder(tmp_path):
    assert Run.of(tmp_path, "net", {"seed": 1, "model": {"lr": 0.1}}, {}).path == Run.of(tmp_path, "net", RECORD, {}).path


def test_another_record_or_name_is_another_folder(tmp_path):
    runs = [
        Run.of(tmp_path, "net", RECORD, {}),
        Run.of(tmp_path, "net", {**RECORD, "seed": 2}, {}),
        Run.of(tmp_path, "svm", RECORD, {}),
    ]
    assert len({run.path for run in runs}) == 3


def test_a_run_is_named_after_model_and_digest(run):
    assert run.name.startswith("net-")
    assert len(run.name) == len("net-") + 12 + len("-") + 6


def test_asking_for_a_fold_creates_nothing(run):
    assert run.fold(SPLIT) is None
    assert not run.path.exists()


def test_a_written_fold_is_found_with_its_content(run):
    finish(run, "weights")
    fold = run.fold(SPLIT)
    assert fold == FinishedFold(run.path / "repeat-0" / "fold-3")
    assert fold.checkpoint.read_text() == "weights"


def test_other_folds_are_not_finished_by_it(run):
    finish(run, "weights")
    assert run.fold(Split(0, 2, (), (), ())) is None
    assert run.fold(Split(1, 3, (), (), ())) is None


def test_the_marker_may_be_filled_while_writing(run):
    marker = {"target": "a.B"}
    with run.writing(SPLIT, marker):
        marker["seconds"] = 1.5
    assert json.loads((run.fold(SPLIT).path / MARKER).read_text()) == {"target": "a.B", "seconds": 1.5}


def test_the_first_fold_writes_the_identity(run):
    finish(run, "weights")
    assert json.loads((run.path / "identity.json").read_text()) == RECORD


def test_a_fold_is_not_finished_while_it_is_written(run):
    with run.writing(SPLIT, {}):
        assert run.fold(SPLIT) is None
        assert not (run.path / SPLIT.name).exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_nothing_behind(run, error):
    def fail():
        with run.writing(SPLIT, {}) as folder:
            (folder / "model.ckpt").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert run.fold(SPLIT) is None
    assert contents(run.path / "repeat-0") == []


def test_a_marker_that_cannot_be_written_leaves_nothing_behind(run):
    with pytest.raises(TypeError), run.writing(SPLIT, {"target": object()}):
        pass
    assert contents(run.path / "repeat-0") == []


def test_a_successful_write_leaves_nothing_beside_the_fold(run):
    finish(run, "weights")
    assert contents(run.path / "repeat-0") == ["fold-3"]
    assert contents(run.path) == ["identity.json", "repeat-0"]


def test_a_folder_without_its_marker_is_not_finished(run):
    (run.path / SPLIT.name).mkdir(parents=True)
    (run.path / SPLIT.name / "model.ckpt").write_text("weights")
    assert run.fold(SPLIT) is None


def test_a_folder_without_its_marker_is_replaced_whole(run):
    (run.path / SPLIT.name).mkdir(parents=True)
    (run.path / SPLIT.name / "stale").write_text("")
    finish(run, "weights")
    assert contents(run.fold(SPLIT).path) == [MARKER, "model.ckpt"]


def test_a_second_writer_does_not_overwrite_a_fold_finished_meanwhile(run):
    with run.writing(SPLIT, {}) as folder:
        (folder / "model.ckpt").write_text("slow")
        finish(run, "fast")
    assert run.fold(SPLIT).checkpoint.read_text() == "fast"
    assert contents(run.path / "repeat-0") == ["fold-3"]


def test_a_second_writer_that_loses_at_the_last_moment_is_dropped_without_an_error(run, monkeypatch):
    rename = Path.rename
    late = []

    def rename_after_the_rival(self, target):
        if not late:
            late.append(target)
            finish(run, "fast")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_after_the_rival)
    finish(run, "slow")
    assert late
    assert run.fold(SPLIT).checkpoint.read_text() == "fast"


def test_what_killed_processes_left_is_removed_and_nothing_else(run):
    folder = run.path / "repeat-0"
    left = [".fold-3.12ab34cd", ".fold-3.unfinished", ".fold-33.12ab34cd", "fold-3"]
    for name in left:
        (folder / name).mkdir(parents=True)
    (folder / ".fold-3.lease").touch()
    run.remove_half_written(SPLIT)
    assert contents(folder) == sorted([".fold-3.lease", *left[1:]])


@pytest.fixture
def samples(make_samples):
    """24 images of 8 patients."""
    return make_samples([(2, 1), (1, 2)] * 4)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("classes", [("absent", "present"), ('<b>&"x', "a|b é")])
def test_samples_come_back_as_they_were_written(tmp_path, make_samples, grouped, classes):
    samples = dataclasses.replace(make_samples([(2, 1), (0, 3)], grouped), classes=classes, positive=classes[0])
    run = Run.of(tmp_path, "any", {}, {})
    run.path.mkdir()
    write_samples(samples, run.path / "samples.parquet")
    got = run.samples
    pd.testing.assert_frame_equal(got.rows, samples.rows, check_dtype=False)
    assert (got.classes, got.positive, got.grouped) == (classes, classes[0], grouped)
    assert samples.rows.attrs == {}  # of others nothing is changed


@pytest.mark.parametrize("name", ["metrics.json", IDENTITY])
def test_a_folder_that_is_no_complete_run_is_named(tmp_path, samples, name):
    run = finished_run(tmp_path / "half", samples)
    (run.path / name).unlink()
    with pytest.raises(UserError, match=f"^{re.escape(str(run.path))} is not a complete run: it has no {name}"):
        Run.load(run.path)


def test_a_finished_run_is_the_run_that_its_folds_were_written_to(run):
    finish(run, "weights")
    (run.path / "metrics.json").write_text("{}")
    loaded = Run.load(run.path, "another")
    assert (loaded, loaded.record) == (run, RECORD)


def test_what_was_written_is_read(tmp_path, samples):
    run = finished_run(tmp_path / "net-0", samples, name="net")
    assert run.title == "net"
    assert Run.load(run.path, "another").title == "another"
    assert len(run.oof) == 24
    assert set(run.splits["part"]) == {"fit", "val", "test"}
    assert run.scores["auroc"]["low"] == run.scores["auroc"]["value"] - 0.1
    assert run.config["folds"]["k"] == 3


def test_a_run_is_the_same_from_wherever_it_is_named(tmp_path, samples, monkeypatch):
    run = finished_run(tmp_path / "net-0", samples)
    monkeypatch.chdir(tmp_path)
    assert Run.load(run.path.relative_to(tmp_path)) == run


def test_fold_ten_comes_after_fold_nine(run):
    for repeat in (10, 2):
        for fold in (10, 9, 0):
            (run.path / f"repeat-{repeat}" / f"fold-{fold}").mkdir(parents=True)
            (run.path / f"repeat-{repeat}" / f"fold-{fold}" / "finished.json").write_text(json.dumps({"seconds": fold}))
    (run.path / "repeat-2" / "fold-3").mkdir()  # without its marker: not finished
    assert list(run.markers) == [f"repeat-{repeat}/fold-{fold}" for repeat in (2, 10) for fold in (0, 9, 10)]
    assert [marker["seconds"] for marker in run.markers.values()] == [0, 9, 10] * 2
    assert [(name, fold.path) for name, fold in run.folds()] == [(name, run.path / name) for name in run.markers]


def test_the_runs_that_one_is_built_on_come_deepest_first_and_each_once(tmp_path, samples):
    network = finished_run(tmp_path / "net-0", samples)
    svm = finished_run(tmp_path / "svm-0", samples, inputs={"network": network})
    both = finished_run(tmp_path / "both-0", samples, inputs={"net": network, "svm": svm}, name="both")
    top = finished_run(tmp_path / "top-0", samples, inputs={"both": both, "svm": svm}, name="top")
    assert {name: run.path for name, run in both.inputs().items()} == {"net": network.path, "svm": svm.path}
    assert [(run.title, run.path) for run in top.with_inputs()] == [
        ("net", network.path), ("svm", svm.path), ("both", both.path), ("top", top.path),
    ]  # fmt: skip
    assert network.with_inputs() == [network]


def test_a_run_whose_member_is_gone_says_so(tmp_path, samples):
    network = finished_run(tmp_path / "net-0", samples)
    svm = finished_run(tmp_path / "svm-0", samples, inputs={"network": network})
    (network.path / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"net-0 is not a complete run"):
        svm.with_inputs()


def test_curves_have_one_row_an_epoch_and_only_of_what_was_trained(run):
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
        folder = run.path / "repeat-0" / f"fold-{fold}"
        folder.mkdir(parents=True)
        (folder / "finished.json").write_text("{}")
        pd.DataFrame(table).to_csv(folder / "history.csv", index=False)
    (curves,) = run.curves().items()
    assert curves[0] == "repeat-0/fold-0"
    assert curves[1][["epoch", "train/loss", "val/loss"]].to_numpy().tolist() == [[0, 4, 3], [1, 2, 1]]
