import json
import os
from datetime import datetime, timedelta

import pytest
from finished_runs import finished_run

from experiment.core.errors import UserError
from experiment.core.tables import FinishedFold
from experiment.store.lease import Lease
from experiment.sweep.ledger import Ledger, Trial
from experiment.sweep.prune import Store, removals
from experiment.sweep.run_status import read_runs


@pytest.fixture
def root(tmp_path, make_samples):
    """A network, an ensemble of it, and a network that nothing is built on, each fold with a checkpoint of 1 kB."""
    samples = make_samples([(2, 1), (1, 2)] * 4)
    net = finished_run(tmp_path / "net-0", samples)
    finished_run(tmp_path / "both-0", samples, inputs={"net": net})
    finished_run(tmp_path / "alone-0", samples)
    for fold in tmp_path.glob("*/repeat-0/fold-*"):
        (fold / "model.ckpt").write_bytes(b"0" * 1000)
    return tmp_path


def store(root, *models, before=None):
    every = read_runs(root)
    return Store(root, root / "cache", every, [run for run in every if not models or run.model in models], before)


def names(removal, root):
    return sorted({path.relative_to(root).parts[0] for path in removal.paths})


def test_checkpoints_of_all_runs_go_and_their_results_stay(root):
    removal = removals(store(root), "checkpoints")["checkpoints"]
    assert len(removal.paths) == 3 * 3
    assert removal.megabytes == pytest.approx(9 * 1000 / 1e6)
    assert all(path.exists() for path in removal.paths)  # nothing is removed before it is asked for
    removal.remove()
    assert not list(root.rglob("model.ckpt"))
    assert all(run.complete for run in read_runs(root))
    with pytest.raises(UserError, match=r"model\.ckpt was removed; remove the fold's folder too"):
        _ = FinishedFold(root / "net-0/repeat-0/fold-0").checkpoint


def test_what_another_finished_run_is_built_on_stays_unless_both_go(root):
    removal = removals(store(root, "net", "alone"), "checkpoints")["checkpoints"]
    assert names(removal, root) == ["alone-0"]
    assert removal.left == "1 that others are built on"
    assert names(removals(store(root, "net", "both"), "checkpoints")["checkpoints"], root) == ["both-0", "net-0"]


def test_what_is_needed_through_another_run_stays_too(root, make_samples):
    (both,) = (run for run in read_runs(root) if run.model == "both")
    finished_run(root / "top-0", make_samples([(2, 1), (1, 2)] * 4), inputs={"both": both})
    assert names(removals(store(root, "net", "both"), "checkpoints")["checkpoints"], root) == []


def test_a_run_in_work_is_left_and_so_is_what_it_may_read(root):
    (root / "shared").mkdir()
    (root / "shared/unused.pt").write_bytes(b"0")
    (root / "alone-0/repeat-0/fold-2/finished.json").unlink()
    lease = Lease.take(root / "alone-0/repeat-0/.fold-2.lease")
    assert lease is not None
    with lease:
        found = removals(store(root), ["checkpoints", "features", "trunks"])
    assert names(found["checkpoints"], root) == ["both-0", "net-0"]
    assert "1 in work" in found["checkpoints"].left
    assert [found[kind].paths for kind in ("features", "trunks")] == [[], []]
    assert removals(store(root), "trunks")["trunks"].paths == [root / "shared/unused.pt"]


def test_only_trunks_that_no_finished_fold_refers_to_go(root):
    (root / "shared").mkdir()
    for name in ("used.pt", "unused.pt"):
        (root / "shared" / name).write_bytes(b"0")
    marker = root / "net-0/repeat-0/fold-1/finished.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "shared": "shared/used.pt"}))
    removal = removals(store(root), "trunks")["trunks"]
    assert [path.name for path in removal.paths] == ["unused.pt"]
    removal.remove()
    assert [path.name for path in (root / "shared").iterdir()] == ["used.pt"]


def test_only_entries_of_the_cache_count_as_features(root):
    for name in ("network/" + 32 * "a", "images/" + 32 * "b", "network/mine", "other/" + 32 * "c"):
        (root / "cache" / name).mkdir(parents=True)
    assert [path.name[0] for path in removals(store(root), "features")["features"].paths] == ["b", "a"]


def test_trials_that_failed_or_were_raced_out_go_unless_completed_since(root):
    ledger = Ledger.of(root, "search", "q", ["val/auroc"])
    for name, state in (("net-0", "raced out"), ("both-0", "complete"), ("alone-0", "failed")):
        ledger.write(Trial(name, {}, state))
    for name in ("net-0", "both-0"):
        (root / name / "repeat-0/fold-2/finished.json").unlink()
    removal = removals(store(root), "trials")["trials"]
    assert removal.paths == []  # others are built on one, the other is complete now
    assert removal.left == "1 that others are built on"
    (root / "alone-0/repeat-0/fold-2/finished.json").unlink()
    removals(store(root), "trials")["trials"].remove()
    assert sorted(run.path.name for run in read_runs(root)) == ["both-0", "net-0"]
    assert len(ledger.trials()) == 3  # the sweep's page keeps them


def test_runs_go_by_their_date(root):
    old = (datetime.now() - timedelta(days=9)).timestamp()
    for marker in root.glob("alone-0/repeat-0/fold-*/finished.json"):
        os.utime(marker, (old, old))
    with pytest.raises(UserError, match=r"prune=runs needs a date; give one such as before="):
        removals(store(root), "runs")
    week_ago = datetime.now() - timedelta(days=7)
    assert removals(store(root, before=week_ago), "runs")["runs"].paths == [root / "alone-0"]


def test_an_unknown_kind_is_refused(root):
    with pytest.raises(UserError, match=r"prune=trunk is not allowed; .*Did you mean 'trunks'\?"):
        removals(store(root), "trunk")
