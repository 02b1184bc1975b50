import json
import os
from datetime import datetime

import pytest
import yaml
from finished_runs import finished_run

from experiment.core.errors import UserError
from experiment.store.attempt import attempt
from experiment.store.lease import Lease
from experiment.sweep.run_status import FoldStatus, RunStatus, chosen, different, read_runs


@pytest.fixture
def run(tmp_path, make_samples):
    """A run of three folds of which the last is not there."""
    finished = finished_run(tmp_path / "net", make_samples([(2, 1), (1, 2)] * 4))
    (finished.path / "repeat-0/fold-2/finished.json").unlink()
    (finished.path / "repeat-0/fold-2").rename(tmp_path / "elsewhere")
    return finished.path


def states(run):
    (status,) = read_runs(run.parent)
    return [fold.state for fold in status.folds]


def test_a_fold_is_done_or_missing(run):
    assert states(run) == ["done", "done", "missing"]
    assert not RunStatus.of(run).complete


def test_the_process_at_work_on_a_fold_is_named(run):
    lease = Lease.take(run / "repeat-0/.fold-2.lease")
    assert lease is not None
    with lease:
        assert states(run) == ["done", "done", "running"]
        assert "process" in FoldStatus.of(run, "repeat-0/fold-2").note
        assert RunStatus.of(run).running
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


@pytest.mark.parametrize("content", ["", "[]", "5", "{}", '{"seconds": "long"}', '{"seconds": 1, "scores": 3}', "\0\0"])
def test_a_damaged_fold_says_so_and_what_to_do(run, content):
    (run / "repeat-0/fold-1/finished.json").write_text(content)
    status = FoldStatus.of(run, "repeat-0/fold-1")
    assert status.state == "damaged"
    assert status.note.endswith("remove net/repeat-0/fold-1, and the same command fits it again")
    assert states(run) == ["done", "damaged", "missing"]


@pytest.mark.parametrize("content", ["[1]", "5", '{"pid": "x"}'])
def test_a_damaged_lease_is_damage_of_its_fold_alone(run, content):
    (run / "repeat-0/.fold-2.lease").write_text(content)
    assert states(run) == ["done", "done", "damaged"]


@pytest.mark.parametrize("name", ["splits.parquet", "identity.json", "config.yaml"])
def test_a_damaged_run_leaves_the_others_readable(tmp_path, make_samples, name):
    samples = make_samples([(2, 1), (1, 2)] * 4)
    damaged = finished_run(tmp_path / "net-1", samples)
    finished_run(tmp_path / "net-2", samples)
    (damaged.path / name).write_text("\0{[")
    by_name = {run.path.name: run for run in read_runs(tmp_path)}
    assert by_name["net-1"].damage
    assert not by_name["net-2"].damage
    assert by_name["net-2"].complete


def written(path, samples, when, data=None, **settings):
    """A finished run with these settings of its model and data, whose folds were finished at noon of a day."""
    finished = finished_run(path, samples)
    config = {**finished.config, "data": data or {"_target_": "some.SyntheticDataModule"}}
    config["model"] |= settings
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    noon = datetime.fromisoformat(f"{when}T12:00").timestamp()
    for marker in path.glob("repeat-*/fold-*/finished.json"):
        os.utime(marker, (noon, noon))
    return path


@pytest.fixture
def many(tmp_path, make_samples):
    samples, root = make_samples([(2, 1), (1, 2)] * 4), {"_target_": "some.FolderDataModule", "root": "/data/emps910"}
    written(tmp_path / "net-c", samples, "2026-11-03", lr=4e-4)
    written(tmp_path / "net-a", samples, "2026-11-01", root, lr=2e-4)
    written(tmp_path / "svm-b", samples, "2026-11-02", C=1)
    return read_runs(tmp_path)


def names(runs):
    return [run.path.name for run in runs]


def test_the_newest_run_is_last_with_its_data_set_and_settings_that_differ(many):
    assert names(many) == ["net-a", "svm-b", "net-c"]
    assert [(run.model, run.data, run.images) for run in many] == [
        ("net", "emps910", 24), ("svm", "synthetic", 24), ("net", "synthetic", 24),
    ]  # fmt: skip
    assert [settings.get("lr") for settings in different(many)] == ["2e-4", None, "4e-4"]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, ["net-a", "svm-b", "net-c"]),
        ({"model": "net"}, ["net-a", "net-c"]),
        ({"data": "synthetic"}, ["svm-b", "net-c"]),
        ({"settings": "lr=4e-4"}, ["net-c"]),
        ({"since": "2026-11-02"}, ["svm-b", "net-c"]),
        ({"since": "2026-11-02T13:00"}, ["net-c"]),
        ({"model": "net", "data": "synthetic"}, ["net-c"]),
        ({"settings": "dropout"}, []),
    ],
)
def test_runs_are_filtered_by_any_of_them(many, filters, left):
    nothing = dict.fromkeys(("model", "data", "settings", "since"))
    rows = chosen(many, **{**nothing, **filters})
    assert names(run for run, _ in rows) == left
    if "settings" in filters:  # it is shown
        assert [own["lr"] for _, own in rows] == ["4e-4"][: len(left)]


def test_an_unknown_name_is_refused_with_those_that_exist(many):
    with pytest.raises(UserError, match=r"where\.model=nett is not allowed; allowed: net, svm\. Did you mean 'net'\?"):
        chosen(many, "nett", None, None, None)
    with pytest.raises(UserError, match=r"where\.since=monday is no date; give one such as where\.since=2026-11-01"):
        chosen(many, None, None, "monday", None)


def test_settings_of_members_tell_ensembles_apart(tmp_path, make_samples):
    samples = make_samples([(2, 1), (1, 2)] * 4)
    for number, lr in enumerate((4e-4, 2e-4)):
        member = written(tmp_path / f"net-{number}", samples, "2026-11-01", lr=lr)
        (run,) = (run for run in read_runs(tmp_path) if run.path == member)
        finished_run(tmp_path / f"both-{number}", samples, inputs={"net": run})
    runs = [run for run in read_runs(tmp_path) if run.model == "both"]
    assert sorted(settings["lr"] for settings in different(runs)) == ["2e-4", "4e-4"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"paths\.runs=.*nowhere does not exist"):
        read_runs(tmp_path / "nowhere")
