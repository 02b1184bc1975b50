import json
import logging
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest.mock import MagicMock

import job
import pandas as pd
import pytest
import wandb
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from experiment.tracking.offline import upload_command
from experiment.tracking.summary import numbers
from experiment.tracking.wandb_tracker import WandbTracker

MOST_WRONG_FIRST = ["b", "d", "c", "a"]  # their own class has 0.2, 0.3, 0.6, 0.9
FOLDS = ("repeat-0/fold-0", "repeat-0/fold-1")
PARTS = ("repeat-0-fold-0", "repeat-0-fold-1")
NAME = "net lr=0.1 trunk=a-b"


@pytest.fixture(autouse=True, scope="module")
def nobody_logged_in(tmp_path_factory):
    """No W&B settings from the machine, and none left on it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "WANDB_API_KEY",
            "WANDB_MODE",
            "WANDB_BASE_URL",
            "WANDB_DIR",
            "WANDB_PROJECT",
            "WANDB_ENTITY",
            "WANDB_TAGS",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield
    wandb.teardown()


@pytest.fixture(scope="module")
def track(tracked, shown):
    """Tracks two folds and a summary offline; the tracker and what was seen of its W&B runs."""

    def done(run, sweep=None, **settings):
        tracker, seen = WandbTracker("project", mode="offline", tags=["tag"], pictures=3, **settings), []
        for fold in FOLDS:
            with tracker.fold(tracked(run, sweep=sweep), fold) as logger:
                live = logger.experiment
                logger.log_metrics({"test/auroc": 0.75})
                seen.append(
                    SimpleNamespace(
                        id=live.id, group=live.group, job=live.job_type, tags=live.tags, project=live.project, name=live.name,
                        config=dict(live.config), auroc=live.summary["test/auroc"], after=None,
                    )
                )  # fmt: skip
            seen[-1].after = wandb.run
        for name in ("oof.parquet", *(f"{fold}/model.ckpt" for fold in FOLDS)):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(name)
        assert tracker.summary(shown(run, tracked=tracked(run, sweep=sweep)))
        return SimpleNamespace(tracker=tracker, seen=seen, after=wandb.run, run=run)

    return done


@pytest.fixture(scope="module")
def offline(tmp_path_factory, track):
    return track(tmp_path_factory.mktemp("tracking") / "all runs" / "net-0123456789ab")


def ids(directory):
    """Ids of the runs written offline, from ``offline-run-<time>-<id>``."""
    return sorted(path.name.split("-", 3)[3] for path in (directory / "wandb").glob("offline-run-*"))


IDS = ["net-0123456789ab-repeat-0-fold-0", "net-0123456789ab-repeat-0-fold-1", "net-0123456789ab-summary"]


def test_offline_there_is_one_run_a_fold_and_a_summary(offline):
    assert ids(offline.run) == IDS


def test_ids_follow_from_the_run_and_the_fold(offline):
    assert [run.id for run in offline.seen] == IDS[:2]


def test_the_same_work_has_the_same_ids_elsewhere(offline, tmp_path, track):
    track(tmp_path / offline.run.name)
    assert ids(tmp_path / offline.run.name) == ids(offline.run)


def test_in_a_sweep_all_is_grouped_and_tagged_by_it_and_lies_in_its_folder(tmp_path, track):
    done = track(tmp_path / "net-1", sweep=tmp_path / "sweeps" / "my grid")
    assert ids(tmp_path / "sweeps" / "my grid") == [f"my-grid-net-1-{part}" for part in (*PARTS, "summary")]
    for run in done.seen:
        assert (run.group, run.tags[-2:]) == ("my grid", ("net", "my grid"))
    assert not (tmp_path / "net-1" / "wandb").exists()


def test_a_trial_that_a_race_stopped_has_a_summary_with_its_objective(tmp_path, tracked):
    stopped = tracked(tmp_path / "net-1", sweep=tmp_path / "grid")
    tracker = WandbTracker("p", mode="offline")
    assert tracker.stopped(stopped, {"objective": 0.25, "objective/val/auroc": 0.25, "finished_folds": 1})
    found = records(tmp_path / "grid", "grid-net-1-summary")
    assert {k: summary_of(found)[k] for k in ("objective", "finished_folds")} == {"objective": 0.25, "finished_folds": 1}
    (run,) = [record["run"] for record in found if record["type"] == "run"]
    assert run["tags"] == ["net", "grid", "raced out"]
    assert (run["display_name"], run["run_group"], run["job_type"]) == (NAME, "grid", "summary")


def test_disabled_nothing_is_written_and_nothing_is_taken_for_logged(tmp_path, monkeypatch, tracked, shown):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker, run = WandbTracker("p"), tmp_path / "net-1"
    with tracker.fold(tracked(run), FOLDS[0]) as logger:
        assert logger is None
    assert not tracker.summary(shown(run))
    assert not tracker.stopped(tracked(run), {"objective": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_left_live_after_a_fold_or_the_summary(offline):
    assert [run.after for run in offline.seen] == [None, None]
    assert offline.after is None


def test_folds_are_grouped_by_run(offline):
    for run, part in zip(offline.seen, FOLDS, strict=True):
        assert (run.group, run.job, run.project, run.tags) == ("net-0123456789ab", "fold", "project", ("tag", "net"))
        assert run.config == {"model": {"lr": 0.1, "taps": ["layer2"]}, "samples": {"images": 4}}
        assert run.name == f"{NAME} {part}"


def test_scores_of_a_fold_stand_in_its_summary(offline):
    assert [run.auroc for run in offline.seen] == [0.75, 0.75]


def test_the_upload_command_names_the_runs_own_folders(offline, tracked):
    text = offline.tracker.note([tracked(offline.run), tracked(offline.run), tracked(offline.run.parent / "other")])
    assert text == f"W&B: 3 runs written offline; upload with: wandb sync '{offline.run}/wandb'/offline-run-*"


def test_the_upload_command_is_relative_to_where_it_is_given_and_quoted(offline, monkeypatch):
    monkeypatch.chdir(offline.run.parents[1])
    assert upload_command([offline.run], 0.0).endswith("wandb sync 'all runs/net-0123456789ab/wandb'/offline-run-*")


def test_runs_of_earlier_commands_are_not_uploaded(offline):
    assert upload_command([offline.run], time.time() + 60) is None


def test_a_failing_fold_ends_its_run_and_the_error_goes_on(tmp_path, tracked):
    tracker = WandbTracker("p", mode="offline")
    live = []

    def fail():
        with tracker.fold(tracked(tmp_path / "net-1"), FOLDS[0]):
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


def test_a_run_that_cannot_start_is_a_warning_and_no_logger(tmp_path, broken_init, caplog, tracked):
    tracker = WandbTracker("p", mode="online")
    with caplog.at_level(logging.WARNING), tracker.fold(tracked(tmp_path / "net-1"), FOLDS[0]) as logger:
        assert logger is None
    assert "no route to host" in caplog.text


def test_a_summary_that_cannot_start_is_a_warning(tmp_path, broken_init, caplog, tracked, shown):
    tracker = WandbTracker("p", mode="offline")
    with caplog.at_level(logging.WARNING):
        assert not tracker.summary(shown(tmp_path / "net-1"))
    assert "no route to host" in caplog.text
    assert tracker.note([tracked(tmp_path / "net-1")]) is None


def test_a_server_out_of_reach_is_asked_once_and_the_job_goes_on_offline(tmp_path, monkeypatch, tracked):
    asked, init = [], wandb.init

    def only_offline(**settings):
        asked.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return init(**settings)

    monkeypatch.setattr(wandb, "init", only_offline)
    tracker = WandbTracker("p", mode="online")
    for fold in FOLDS:
        with tracker.fold(tracked(tmp_path / "net-0123456789ab"), fold) as logger:
            assert logger.experiment.offline
    assert asked == ["online", "offline", "offline"]
    assert ids(tmp_path / "net-0123456789ab") == IDS[:2]
    assert "2 runs" in tracker.note([tracked(tmp_path / "net-0123456789ab")])


def test_a_logger_that_raises_does_not_stop_the_training(tmp_path, caplog, tracked):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss["loss"])
            return loss

    tracker = WandbTracker("p", mode="offline")
    with caplog.at_level(logging.WARNING), tracker.fold(tracked(tmp_path / "net-1"), FOLDS[0]) as logger:
        logger.experiment.finish()  # W&B raises when a finished run is given a number
        trainer = Trainer(
            max_epochs=1, limit_train_batches=3, limit_val_batches=1, log_every_n_steps=1, logger=logger, accelerator="cpu",
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(Model())
    assert trainer.global_step == 3
    assert caplog.text.count("did not take a metric") >= 3


@pytest.fixture
def started(monkeypatch):
    """What `wandb.init` returns, to be broken by a test."""
    run = MagicMock()
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    return run


def test_the_summary_holds_values_intervals_means_and_deviations_over_folds(tmp_path, started, shown):
    WandbTracker("p", mode="online").summary(shown(tmp_path / "net-1", pairs=[]))
    written = {key: value for call in started.summary.update.call_args_list for key, value in call.args[0].items()}
    assert written == {
        "oof/auroc": 0.5, "oof/auroc/low": 0.375, "oof/auroc/high": 0.625, "folds/auroc/mean": 0.25, "folds/auroc/sd": 0.125,
        "oof/f1": 1.0, "oof/f1/low": 0.75, "oof/f1/high": 1.0, "folds/f1/mean": 1.0, "folds/f1/sd": 0.0,
        "calibration/ece": 0.0625, "operating/sensitivity_at_specificity_0.9": 0.875, "cost/seconds": 1.5,
        "cost/stages/train": 1.0, "cost/images_per_second/train": 4.0, "objective": 0.875, "objective/val/auroc": 0.875,
        "finished_folds": 2,
    }  # fmt: skip
    started.finish.assert_called_once()


def test_a_run_that_cannot_finish_does_not_stop_the_fold(tmp_path, started, tracked):
    started.finish.side_effect = wandb.errors.CommError("connection lost")
    with WandbTracker("p", mode="online").fold(tracked(tmp_path / "net-1"), FOLDS[0]):
        pass


def test_scores_that_cannot_be_told_do_not_stop_the_fold(tmp_path, started, tracked):
    started.log.side_effect = wandb.errors.CommError("connection lost")
    started.summary.update.side_effect = wandb.errors.CommError("connection lost")
    tracker = WandbTracker("p", mode="online")
    with tracker.fold(tracked(tmp_path / "net-1"), FOLDS[0]) as logger:
        logger.log_metrics({"test/auroc": 0.5})


def test_a_summary_that_cannot_be_told_does_not_stop_the_work(tmp_path, started, shown):
    started.summary.update.side_effect = wandb.errors.CommError("connection lost")
    assert not WandbTracker("p", mode="online").summary(shown(tmp_path / "net-1"))


def test_a_folder_that_cannot_be_made_does_not_stop_the_fold(tmp_path, tracked):
    (tmp_path / "occupied").write_text("")
    with WandbTracker("p", mode="offline").fold(tracked(tmp_path / "occupied"), FOLDS[0]) as logger:
        assert logger is None


def mode(tmp_path, **settings):
    return WandbTracker("p", **settings).mode


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


def test_differences_are_told_from_the_models_own_side(tmp_path, shown):
    got = {name: value for name, value in numbers(shown(tmp_path)).items() if name.startswith("against/")}
    assert got == {
        "against/svm/auroc/difference": 0.25, "against/svm/auroc/p_holm": 0.5,
        "against/mean/auroc/difference": -0.125, "against/mean/auroc/p_holm": 1.0,
    }  # fmt: skip


def test_runs_are_tagged_by_the_user_and_with_their_model_and_data_set(tmp_path, monkeypatch, tracked):
    started = MagicMock()
    monkeypatch.setattr(wandb, "init", started)
    monkeypatch.setenv("WANDB_TAGS", "site-a,site-b")
    config = {"data": {"_target_": "datamodules.folder.FolderDataModule"}}
    with WandbTracker("p", mode="offline", tags=["pilot"]).fold(tracked(tmp_path / "net-1", config=config), FOLDS[0]):
        pass
    assert started.call_args.kwargs["tags"] == ["pilot", "site-a", "site-b", "net", "folder"]


def records(directory, name):
    """What W&B's own reader finds in the files of a run written offline."""
    (file,) = (directory / "wandb").glob(f"offline-run-*-{name}/*.wandb")
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(reader, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def summary_of(found):
    """The last value of each name."""
    return {k: v for record in found if record["type"] == "summary" for k, v in record["summary"]["update"].items()}


def artifacts(found):
    """Kind of artifact to what it holds: name there and file here."""
    out = {}
    for record in (record["artifact"] for record in found if record["type"] == "artifact"):
        contents = {entry["path"]: entry["local_path"] for entry in record["manifest"]["contents"]}
        out.setdefault(record["type"], {}).update(contents)
    return out


@pytest.fixture(scope="module")
def written(offline):
    return records(offline.run, IDS[2])


def test_every_number_of_a_summary_can_be_read_back(offline, written, shown):
    got = summary_of(written)
    expected = numbers(shown(offline.run))
    assert {name: got[name] for name in expected} == expected


def test_the_table_holds_every_row_the_most_wrong_first_with_pictures_in_the_first_ones(offline, written, shown):
    files = artifacts(written)["run_table"]
    with open(files["oof.table.json"]) as file:
        table = json.load(file)
    assert table["columns"] == ["image", *shown(offline.run).oof.columns, "decided", "p_of_target"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["sample_id"] for row in rows] == MOST_WRONG_FIRST
    assert [row["p_of_target"] for row in rows] == [0.2, 0.3, 0.6, 0.9]
    assert [row["decided"] for row in rows] == ["yes", "no", "yes", "no"]
    assert rows[3]["image"] is None
    shades = [int(wandb.Image(files[row["image"]["path"]]).image.getpixel((0, 0))) for row in rows[:3]]
    assert shades == [ord(sample) for sample in MOST_WRONG_FIRST[:3]]


def test_an_image_that_cannot_be_read_leaves_its_row_without_a_picture(tmp_path, started, caplog, shown):
    def unreadable(sample):
        raise OSError("truncated")

    with caplog.at_level(logging.WARNING):
        assert WandbTracker("p", mode="online", pictures=1).summary(shown(tmp_path, picture=unreadable))
    logged = started.log.call_args.args[0]
    assert [row[0] for row in logged["oof"].data] == [None] * 4
    assert "b is not shown in W&B: truncated" in caplog.text


def test_every_curve_is_a_plot(started, tmp_path, shown):
    WandbTracker("p", mode="online").summary(shown(tmp_path))
    logged = started.log.call_args.args[0]
    assert set(logged) == {"oof", "curves/roc", "curves/pr", "curves/decision", "curves/reliability"}
    assert logged["curves/reliability"].table.data == [[0.25, 0.0], [0.75, 1.0]]


def test_files_that_are_there_are_uploaded_and_checkpoints_only_on_request(offline, written, tmp_path, track):
    assert set(artifacts(written)["run"]) == {"oof.parquet"}
    track(tmp_path / offline.run.name, checkpoints=True)
    held = artifacts(records(tmp_path / offline.run.name, IDS[2]))["run"]
    assert set(held) == {"oof.parquet", *(f"{fold}/model.ckpt" for fold in FOLDS)}
    with open(held[f"{FOLDS[1]}/model.ckpt"]) as file:
        assert file.read() == f"{FOLDS[1]}/model.ckpt"


def test_a_real_job_shows_in_wandb_and_in_csv_what_stands_in_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "biopsies")
    monkeypatch.setenv("WANDB_TAGS", "pilot")
    done = job.train(tmp_path, "model=resnet", "model.lr=0.001", "logger=[wandb,csv]")
    run = job.run_of(done)
    found = records(run, f"{run.name}-summary")
    got, scores = summary_of(found), json.loads((run / "metrics.json").read_text())
    assert got["cost/seconds"] == scores.pop("cost")["seconds"]
    for name, metric in scores.items():
        logged = [got[f"oof/{name}{of}"] for of in ("", "/low", "/high")] + [
            got[f"folds/{name}/{of}"] for of in ("mean", "sd")
        ]
        assert logged == pytest.approx([metric[of] for of in ("value", "low", "high", "mean", "sd")], nan_ok=True)
    assert got["oof.nrows"] == len(pd.read_parquet(run / "oof.parquet"))
    assert set(artifacts(found)["run"]) == {"splits.parquet", "oof.parquet", "metrics.json", "report.html"}
    row = pd.read_csv(run / "csv" / "summary" / "metrics.csv").drop(columns="step").iloc[0].to_dict()
    assert row == pytest.approx({name: got[name] for name in row}, nan_ok=True)
    assert len(row) > 5 * len(scores)

    (started,) = [record["run"] for record in found if record["type"] == "run"]
    assert started["display_name"].startswith("resnet lr=0.001 images=48 patients=12 ")
    assert (started["project"], started["tags"]) == ("biopsies", ["pilot", "resnet", "synthetic"])
    identity = json.loads((run / "identity.json").read_text())
    assert started["config"]["update"]["samples"] == {"images": 48, "groups": 12, "digest": identity["data"]["digest"]}
    assert f"W&B: 3 runs written offline; upload with: wandb sync runs/{run.name}/wandb/offline-run-*" in done.stderr
