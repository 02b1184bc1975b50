import csv
import logging
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import wandb

from experiment.tracking import CSVTracker, NoTracker, WandbTracker

SCORES = {"auroc": {"value": 0.5, "mean": 0.25, "sd": 0.125}, "f1": {"value": 1.0, "mean": 1.0, "sd": 0.0}}
FOLDS = ("repeat-0/fold-0", "repeat-0/fold-1")


@pytest.fixture(autouse=True, scope="module")
def nobody_logged_in(tmp_path_factory):
    """No W&B settings from the machine, and none left on it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_DIR", "WANDB_PROJECT", "WANDB_ENTITY"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield
    wandb.teardown()


def track(directory, run):
    """Two folds and a summary, offline; the tracker and what was seen of its W&B runs."""
    tracker, seen = WandbTracker("project", str(directory), mode="offline", tags=["tag"]), []
    for fold in FOLDS:
        with tracker.fold(run, fold, {"lr": 0.1}) as logger:
            live = logger.experiment
            tracker.fold_scores(logger, {"auroc": 0.75})
            seen.append(
                SimpleNamespace(
                    id=live.id, group=live.group, job=live.job_type, tags=live.tags, project=live.project,
                    config=dict(live.config), auroc=live.summary["test/auroc"], after=None,
                )
            )  # fmt: skip
        seen[-1].after = wandb.run
    tracker.summary(run, {"lr": 0.1}, SCORES)
    return SimpleNamespace(tracker=tracker, seen=seen, after=wandb.run, run=run, directory=directory)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracking")
    return track(folder / "wandb files", folder / "net-0123456789ab")


def ids(directory):
    """Ids of the runs written offline, from ``offline-run-<time>-<id>``."""
    return sorted(path.name.split("-", 3)[3] for path in (directory / "wandb").glob("offline-run-*"))


IDS = ["net-0123456789ab-repeat-0-fold-0", "net-0123456789ab-repeat-0-fold-1", "net-0123456789ab-summary"]


def test_offline_there_is_one_run_a_fold_and_a_summary(offline):
    assert ids(offline.directory) == IDS


def test_ids_follow_from_the_run_and_the_fold(offline):
    assert [run.id for run in offline.seen] == IDS[:2]


def test_the_same_work_has_the_same_ids_elsewhere(offline, tmp_path):
    track(tmp_path / "w", tmp_path / offline.run.name)
    assert ids(tmp_path / "w") == ids(offline.directory)


def test_no_run_is_left_live_after_a_fold_or_the_summary(offline):
    assert [run.after for run in offline.seen] == [None, None]
    assert offline.after is None


def test_folds_are_grouped_by_run(offline):
    for run in offline.seen:
        assert (run.group, run.job, run.project, run.tags) == ("net-0123456789ab", "fold", "project", ("tag",))
        assert run.config == {"lr": 0.1}


def test_scores_of_a_fold_stand_in_its_summary(offline):
    assert [run.auroc for run in offline.seen] == [0.75, 0.75]


def test_close_counts_the_offline_runs_and_tells_how_to_upload_them(offline):
    text = offline.tracker.close()
    assert "3 runs" in text
    assert f"wandb sync {offline.directory}/wandb/offline-run-*" in text


def test_close_gives_a_path_relative_to_where_the_user_stands(offline, monkeypatch):
    monkeypatch.chdir(offline.directory.parent)
    assert "wandb sync wandb files/wandb/offline-run-*" in offline.tracker.close()


def test_close_says_nothing_when_nothing_was_tracked(tmp_path):
    assert WandbTracker("p", str(tmp_path), mode="offline").close() is None


def test_a_failing_fold_ends_its_run_and_the_error_goes_on(tmp_path):
    tracker = WandbTracker("p", str(tmp_path), mode="offline")
    live = []

    def fail():
        with tracker.fold(tmp_path / "net-1", FOLDS[0], {}):
            live.append(wandb.run)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert live != [None]
    assert wandb.run is None


@pytest.fixture
def broken_init(monkeypatch):
    def init(**settings):
        raise wandb.errors.CommError("no route to host")

    monkeypatch.setattr(wandb, "init", init)


def test_a_run_that_cannot_start_is_a_warning_and_no_logger(tmp_path, broken_init, caplog):
    tracker = WandbTracker("p", str(tmp_path), mode="online")
    with caplog.at_level(logging.WARNING), tracker.fold(tmp_path / "net-1", FOLDS[0], {}) as logger:
        assert logger is None
        tracker.fold_scores(logger, {"auroc": 0.5})
    assert "no route to host" in caplog.text


def test_a_summary_that_cannot_start_is_a_warning(tmp_path, broken_init, caplog):
    tracker = WandbTracker("p", str(tmp_path), mode="offline")
    with caplog.at_level(logging.WARNING):
        tracker.summary(tmp_path / "net-1", {}, SCORES)
    assert "no route to host" in caplog.text
    assert tracker.close() is None


@pytest.fixture
def started(monkeypatch):
    """What `wandb.init` returns, to be broken by a test."""
    run = MagicMock()
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    return run


def test_the_summary_holds_the_pooled_value_and_mean_and_deviation_over_folds(tmp_path, started):
    WandbTracker("p", str(tmp_path), mode="online").summary(tmp_path / "net-1", {}, SCORES)
    written = {key: value for call in started.summary.update.call_args_list for key, value in call.args[0].items()}
    assert written == {
        "oof/auroc": 0.5, "folds/auroc/mean": 0.25, "folds/auroc/sd": 0.125,
        "oof/f1": 1.0, "folds/f1/mean": 1.0, "folds/f1/sd": 0.0,
    }  # fmt: skip
    started.finish.assert_called_once()


def test_a_run_that_cannot_finish_does_not_stop_the_fold(tmp_path, started):
    started.finish.side_effect = wandb.errors.CommError("connection lost")
    with WandbTracker("p", str(tmp_path), mode="online").fold(tmp_path / "net-1", FOLDS[0], {}):
        pass


def test_scores_that_cannot_be_told_do_not_stop_the_fold(tmp_path, started):
    started.log.side_effect = wandb.errors.CommError("connection lost")
    started.summary.update.side_effect = wandb.errors.CommError("connection lost")
    tracker = WandbTracker("p", str(tmp_path), mode="online")
    with tracker.fold(tmp_path / "net-1", FOLDS[0], {}) as logger:
        tracker.fold_scores(logger, {"auroc": 0.5})


def test_a_summary_that_cannot_be_told_does_not_stop_the_work(tmp_path, started):
    started.summary.update.side_effect = wandb.errors.CommError("connection lost")
    WandbTracker("p", str(tmp_path), mode="online").summary(tmp_path / "net-1", {}, SCORES)


def test_a_folder_that_cannot_be_made_does_not_stop_the_fold(tmp_path):
    (tmp_path / "occupied").write_text("")
    with WandbTracker("p", str(tmp_path / "occupied"), mode="offline").fold(tmp_path / "net-1", FOLDS[0], {}) as logger:
        assert logger is None


def mode(tmp_path, **settings):
    return WandbTracker("p", str(tmp_path), **settings).mode


def test_auto_is_offline_without_a_key(tmp_path):
    assert mode(tmp_path) == "offline"


def test_auto_is_online_with_a_key_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert mode(tmp_path) == "online"


@pytest.mark.parametrize(("host", "expected"), [("api.wandb.ai", "online"), ("elsewhere.org", "offline")])
def test_auto_is_online_with_a_login_for_the_server(tmp_path, monkeypatch, host, expected):
    (tmp_path / "netrc").write_text(f"machine {host} login user password {'0' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert mode(tmp_path) == expected


def test_auto_asks_for_a_login_at_the_users_own_server(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine wandb.example.org login user password {'0' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert mode(tmp_path) == "online"


def test_auto_takes_an_unreadable_netrc_for_none(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert mode(tmp_path) == "offline"


def test_auto_follows_the_environment_before_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode(tmp_path) == "disabled"


def test_a_mode_that_was_asked_for_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert mode(tmp_path, mode="offline") == "offline"


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_curves_and_scores_of_a_fold_stand_in_one_file(tmp_path):
    tracker = CSVTracker()
    with tracker.fold(tmp_path, FOLDS[1], {}) as logger:
        logger.log_metrics({"val/loss": 0.5}, step=1)
        tracker.fold_scores(logger, {"auroc": 0.75})
    rows = read(tmp_path / "csv" / "repeat-0-fold-1" / "metrics.csv")
    assert [row["val/loss"] for row in rows if row["val/loss"]] == ["0.5"]
    assert [row["test/auroc"] for row in rows if row["test/auroc"]] == ["0.75"]


def test_csv_summary_has_a_row_a_metric(tmp_path):
    CSVTracker().summary(tmp_path, {}, SCORES)
    assert read(tmp_path / "csv" / "summary.csv") == [
        {"metric": "auroc", "value": "0.5", "mean": "0.25", "sd": "0.125"},
        {"metric": "f1", "value": "1.0", "mean": "1.0", "sd": "0.0"},
    ]


def test_no_tracker_yields_no_logger_and_writes_nothing(tmp_path):
    tracker = NoTracker()
    with tracker.fold(tmp_path, FOLDS[0], {}) as logger:
        assert logger is None
        tracker.fold_scores(logger, {"auroc": 0.5})
    tracker.summary(tmp_path, {}, SCORES)
    assert tracker.close() is None
    assert list(tmp_path.iterdir()) == []
