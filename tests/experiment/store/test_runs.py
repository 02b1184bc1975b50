import json
from pathlib import Path

import pytest

from experiment.core.tables import FinishedFold, Split
from experiment.store.runs import MARKER, Run

SPLIT = Split(0, 3, (), (), ())
RECORD = {"model": {"lr": 0.1}, "seed": 1}


@pytest.fixture
def run(tmp_path):
    return Run.of(tmp_path, "net", RECORD)


def finish(run, text, marker=None):
    with run.writing(SPLIT, marker or {}) as folder:
        (folder / "model.ckpt").write_text(text)


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_record_finds_the_same_folder(tmp_path):
    assert Run.of(tmp_path, "net", {"seed": 1, "model": {"lr": 0.1}}).path == Run.of(tmp_path, "net", RECORD).path


def test_another_record_or_name_is_another_folder(tmp_path):
    runs = [Run.of(tmp_path, "net", RECORD), Run.of(tmp_path, "net", {**RECORD, "seed": 2}), Run.of(tmp_path, "svm", RECORD)]
    assert len({run.path for run in runs}) == 3


def test_a_run_is_named_after_model_and_digest(run):
    assert run.name.startswith("net-")
    assert len(run.name) == len("net-") + 12


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
