import dataclasses
import json
import logging
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import job
import numpy as np
import pandas as pd
import pytest
import wandb
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from experiment.tracking.trackers import Summary
from experiment.tracking.wandb_content import numbers
from experiment.tracking.wandb_tracker import WandbTracker

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
MOST_WRONG_FIRST = ["b", "d", "c", "a"]  # their own class has 0.2, 0.3, 0.6, 0.9
FOLDS = ("repeat-0/fold-0", "repeat-0/fold-1")


def picture(sample):
    return np.full((2, 2), ord(sample), np.uint8)


def shown(run, **changes):
    summary = Summary(
        run=run, config={"lr": 0.1, "title": "net"}, scores=SCORES, evidence=EVIDENCE, pairs=PAIRS, oof=OOF, cost=COST,
        objective={"val/auroc": 0.875}, asked=True,
        files=[run / "oof.parquet", run / "report.html"], picture=picture,
    )  # fmt: skip
    return dataclasses.replace(summary, **changes)


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


def track(directory, run, **settings):
    """Two folds and a summary, offline; the tracker and what was seen of its W&B runs."""
    tracker, seen = WandbTracker("project", str(directory), mode="offline", tags=["tag"], pictures=3, **settings), []
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
    for name in ("oof.parquet", *(f"{fold}/model.ckpt" for fold in FOLDS)):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    assert tracker.summary(shown(run))
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
        assert not tracker.summary(shown(tmp_path / "net-1"))
    assert "no route to host" in caplog.text
    assert tracker.close() is None


def test_a_server_out_of_reach_is_asked_once_and_the_job_goes_on_offline(tmp_path, monkeypatch):
    asked, init = [], wandb.init

    def only_offline(**settings):
        asked.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return init(**settings)

    monkeypatch.setattr(wandb, "init", only_offline)
    tracker = WandbTracker("p", str(tmp_path), mode="online")
    for fold in FOLDS:
        with tracker.fold(tmp_path / "net-0123456789ab", fold, {}) as logger:
            assert logger.experiment.offline
    assert asked == ["online", "offline", "offline"]
    assert ids(tmp_path) == IDS[:2]
    assert "2 runs" in tracker.close()


def test_a_logger_that_raises_does_not_stop_the_training(tmp_path, caplog):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss["loss"])
            return loss

    tracker = WandbTracker("p", str(tmp_path), mode="offline")
    with caplog.at_level(logging.WARNING), tracker.fold(tmp_path / "net-1", FOLDS[0], {}) as logger:
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


def test_the_summary_holds_values_intervals_means_and_deviations_over_folds(tmp_path, started):
    WandbTracker("p", str(tmp_path), mode="online").summary(shown(tmp_path / "net-1", pairs=[]))
    written = {key: value for call in started.summary.update.call_args_list for key, value in call.args[0].items()}
    assert written == {
        "oof/auroc": 0.5, "oof/auroc/low": 0.375, "oof/auroc/high": 0.625, "folds/auroc/mean": 0.25, "folds/auroc/sd": 0.125,
        "oof/f1": 1.0, "oof/f1/low": 0.75, "oof/f1/high": 1.0, "folds/f1/mean": 1.0, "folds/f1/sd": 0.0,
        "calibration/ece": 0.0625, "operating/sensitivity_at_specificity_0.9": 0.875, "cost/seconds": 1.5,
        "cost/stages/train": 1.0, "cost/images_per_second/train": 4.0, "objective": 0.875, "objective/val/auroc": 0.875,
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
    assert not WandbTracker("p", str(tmp_path), mode="online").summary(shown(tmp_path / "net-1"))


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


def test_differences_are_told_from_the_models_own_side(tmp_path):
    got = {name: value for name, value in numbers(shown(tmp_path)).items() if name.startswith("against/")}
    assert got == {
        "against/svm/auroc/difference": 0.25, "against/svm/auroc/p_holm": 0.5,
        "against/mean/auroc/difference": -0.125, "against/mean/auroc/p_holm": 1.0,
    }  # fmt: skip


def test_runs_are_tagged_with_their_model_and_data_set(tmp_path, monkeypatch):
    started = MagicMock()
    monkeypatch.setattr(wandb, "init", started)
    config = {"title": "net", "data": {"_target_": "datamodules.folder.FolderDataModule"}}
    with WandbTracker("p", str(tmp_path), mode="offline", tags=["pilot"]).fold(tmp_path / "net-1", FOLDS[0], config):
        pass
    assert started.call_args.kwargs["tags"] == ["pilot", "net", "folder"]


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
    return records(offline.directory, IDS[2])


def test_every_number_of_a_summary_can_be_read_back(offline, written):
    got = summary_of(written)
    expected = numbers(shown(offline.run))
    assert {name: got[name] for name in expected} == expected


def test_the_table_holds_every_row_the_most_wrong_first_with_pictures_in_the_first_ones(written):
    files = artifacts(written)["run_table"]
    with open(files["oof.table.json"]) as file:
        table = json.load(file)
    assert table["columns"] == ["image", *OOF.columns, "decided", "p_of_target"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["sample_id"] for row in rows] == MOST_WRONG_FIRST
    assert [row["p_of_target"] for row in rows] == [0.2, 0.3, 0.6, 0.9]
    assert [row["decided"] for row in rows] == ["yes", "no", "yes", "no"]
    assert rows[3]["image"] is None
    shades = [int(wandb.Image(files[row["image"]["path"]]).image.getpixel((0, 0))) for row in rows[:3]]
    assert shades == [ord(sample) for sample in MOST_WRONG_FIRST[:3]]


def test_an_image_that_cannot_be_read_leaves_its_row_without_a_picture(tmp_path, started, caplog):
    def unreadable(sample):
        raise OSError("truncated")

    with caplog.at_level(logging.WARNING):
        assert WandbTracker("p", str(tmp_path), mode="online", pictures=1).summary(shown(tmp_path, picture=unreadable))
    logged = started.log.call_args.args[0]
    assert [row[0] for row in logged["oof"].data] == [None] * 4
    assert "b is not shown in W&B: truncated" in caplog.text


def test_every_curve_is_a_plot(started, tmp_path):
    WandbTracker("p", str(tmp_path), mode="online").summary(shown(tmp_path))
    logged = started.log.call_args.args[0]
    assert set(logged) == {"oof", "curves/roc", "curves/pr", "curves/decision", "curves/reliability"}
    assert logged["curves/reliability"].table.data == [[0.25, 0.0], [0.75, 1.0]]


def test_files_that_are_there_are_uploaded_and_checkpoints_only_on_request(offline, written, tmp_path):
    assert set(artifacts(written)["run"]) == {"oof.parquet"}
    track(tmp_path / "w", tmp_path / offline.run.name, checkpoints=True)
    held = artifacts(records(tmp_path / "w", IDS[2]))["run"]
    assert set(held) == {"oof.parquet", *(f"{fold}/model.ckpt" for fold in FOLDS)}
    with open(held[f"{FOLDS[1]}/model.ckpt"]) as file:
        assert file.read() == f"{FOLDS[1]}/model.ckpt"


def test_a_real_job_shows_in_wandb_what_stands_in_its_files(tmp_path):
    run = job.run_of(job.train(tmp_path, "model=resnet"))
    found = records(run.parent, f"{run.name}-summary")
    got, scores = summary_of(found), json.loads((run / "metrics.json").read_text())
    assert got["cost/seconds"] == scores.pop("cost")["seconds"]
    for name, metric in scores.items():
        told = [got[f"oof/{name}{of}"] for of in ("", "/low", "/high")] + [got[f"folds/{name}/{of}"] for of in ("mean", "sd")]
        assert told == pytest.approx([metric[of] for of in ("value", "low", "high", "mean", "sd")], nan_ok=True)
    assert got["oof.nrows"] == len(pd.read_parquet(run / "oof.parquet"))
    assert set(artifacts(found)["run"]) == {"splits.parquet", "oof.parquet", "metrics.json", "report.html"}
