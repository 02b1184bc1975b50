import io
import json

import pytest
from finished_runs import finished_run
from rich.console import Console

from experiment.core.errors import UserError
from experiment.store.attempt import attempt
from experiment.store.lease import Lease
from experiment.sweep.status import FoldStatus, print_status, runs


@pytest.fixture
def run(tmp_path, make_samples):
    """A run of three folds of which the last is not there."""
    finished = finished_run(tmp_path / "net", make_samples([(2, 1), (1, 2)] * 4))
    (finished.path / "repeat-0/fold-2/finished.json").unlink()
    (finished.path / "repeat-0/fold-2").rename(tmp_path / "elsewhere")
    return finished.path


def states(run):
    ((_, folds),) = runs(run.parent)
    return [fold.state for fold in folds]


def test_a_fold_is_done_or_missing(run):
    assert states(run) == ["done", "done", "missing"]


def test_who_is_at_a_fold_is_named(run):
    lease = Lease.take(run / "repeat-0/.fold-2.lease")
    assert lease is not None
    with lease:
        assert states(run) == ["done", "done", "running"]
        assert "process" in FoldStatus.of(run, "repeat-0/fold-2").note
    assert states(run) == ["done", "done", "missing"]


def test_a_job_that_is_gone_is_stale(run):
    lease = run / "repeat-0/.fold-2.lease"
    taken = Lease.take(lease)
    assert taken is not None
    text = json.loads(lease.read_text())
    taken.give_back()
    lease.write_text(json.dumps({**text, "pid": 2**22 + 1}))  # no process has that number
    assert states(run) == ["done", "done", "stale"]


def test_a_fold_that_failed_says_why(run):
    place = run / "repeat-0"
    with pytest.raises(ZeroDivisionError), attempt(place / ".fold-2.lease", place / ".fold-2.failed"):
        raise ZeroDivisionError("no luck")
    status = FoldStatus.of(run, "repeat-0/fold-2")
    assert (status.state, status.note) == ("failed", "ZeroDivisionError: no luck")


def test_the_table_has_a_row_a_run_with_the_scores_of_its_folds(run):
    said = io.StringIO()
    print_status(run.parent, Console(file=said, width=120))
    (row,) = [line.split() for line in said.getvalue().splitlines() if line.strip().startswith("net")]
    markers = [json.loads((run / f"repeat-0/fold-{fold}/finished.json").read_text()) for fold in range(2)]
    means = [sum(m["scores"][part]["balanced_accuracy"] for m in markers) / 2 for part in ("val", "test")]
    assert row == ["net", "■■·", "2/3", *(f"{mean:.3f}" for mean in means), "4", "s"]


def test_complete_runs_can_be_left_out(tmp_path, make_samples):
    finished_run(tmp_path / "net", make_samples([(2, 1), (1, 2)] * 4))
    for complete, rows in ((True, 1), (False, 0)):
        said = io.StringIO()
        print_status(tmp_path, Console(file=said, width=120), complete)
        assert said.getvalue().count("3/3") == rows


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"paths\.runs=.*nowhere does not exist"):
        list(runs(tmp_path / "nowhere"))
