"""Lightning's loggers as conf/ has them, each read back by its own library."""

import csv
import logging

import pytest
from hydra import compose, initialize_config_dir
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger

from experiment.core.build import plain
from experiment.core.errors import UserError
from experiment.terminal.cli import CONF
from experiment.tracking.configured import trackers
from experiment.tracking.summary import numbers
from experiment.tracking.trackers import Trackers

FOLD = "repeat-0/fold-1"
NAME = "net lr=0.1 trunk=a-b"
CSV = "pytorch_lightning.loggers.CSVLogger"


def configured(*overrides):
    with initialize_config_dir(str(CONF)):
        return trackers(plain(compose("train", list(overrides)))["logger"])


@pytest.fixture(scope="module")
def logged(tmp_path_factory, tracked, shown):
    """The folder of the runs after a fold and a summary, with three loggers at once; and the summary."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
        three = configured("logger=[csv,tensorboard,mlflow]", f"paths.runs={runs}")
        summary = shown(runs / "net-0123")
        with three.fold(tracked(runs / "net-0123"), FOLD) as loggers:
            for logger in loggers:
                logger.log_metrics({"val/loss": 0.5}, step=3)
                logger.log_metrics({"test/auroc": 0.75})
        assert [tracker.summary(summary) for tracker in three.members] == [True] * 3
        yield runs, summary


def test_csv_files_have_the_curves_and_the_numbers_of_the_summary(logged):
    runs, summary = logged

    def read(part):
        with (runs / "net-0123" / "csv" / part / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    rows = read("repeat-0-fold-1")
    assert [(row["step"], row["val/loss"]) for row in rows if row["val/loss"]] == [("3", "0.5")]
    assert [row["test/auroc"] for row in rows if row["test/auroc"]] == ["0.75"]
    (row,) = read("summary")
    assert {name: float(value) for name, value in row.items() if name != "step"} == numbers(summary)


def test_tensorboard_reads_the_curves_and_the_numbers_of_the_summary(logged):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs, summary = logged

    def read(part):
        events = accumulator.EventAccumulator(str(runs / "tensorboard" / NAME / f"net-0123-{part}")).Reload()
        return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

    assert read("repeat-0-fold-1")["val/loss"] == [(3, 0.5)]
    assert read("repeat-0-fold-1")["test/auroc"][-1][1] == 0.75
    assert {tag: value for tag, ((_, value),) in read("summary").items()} == pytest.approx(numbers(summary))


def test_mlflow_reads_the_curves_and_the_numbers_of_the_summary(logged):
    mlflow = pytest.importorskip("mlflow")
    runs, summary = logged
    client = mlflow.MlflowClient(f"sqlite:///{runs}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("em-granules").experiment_id])
    by_part = {run.data.tags["part"]: run for run in found}
    assert set(by_part) == {"repeat-0-fold-1", "summary"}
    assert {run.info.status for run in found} == {"FINISHED"}
    assert by_part["summary"].info.run_name == f"{NAME} summary"
    assert by_part["summary"].data.tags["run"] == "net-0123"
    assert by_part["summary"].data.params["model/lr"] == "0.1"
    assert by_part["summary"].data.metrics == numbers(summary)
    (point,) = client.get_metric_history(by_part["repeat-0-fold-1"].info.run_id, "val/loss")
    assert (point.step, point.value) == (3, 0.5)


def test_a_logger_of_the_users_own_is_filled_with_what_is_tracked(tmp_path, tracked):
    own = {"_target_": CSV, "save_dir": str(tmp_path), "name": "{run}", "version": "{name} of {sweep}: {part}"}
    mine = trackers({"mine": own, "folds": True})
    with mine.fold(tracked(tmp_path / "net-0123", sweep=tmp_path / "grid"), FOLD) as (logger,):
        logger.log_metrics({"a": 1.0})
    assert (tmp_path / "net-0123" / f"{NAME} of grid: repeat-0-fold-1" / "metrics.csv").is_file()


def test_a_race_leaves_its_objective(tmp_path, tracked):
    (tracker,) = configured("logger=csv", f"paths.runs={tmp_path}").members
    assert tracker.stopped(tracked(tmp_path / "net-0123"), {"objective": 0.25, "finished_folds": 1})
    with (tmp_path / "net-0123" / "csv" / "summary" / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["objective"], row["finished_folds"]) == ("0.25", "1")


@pytest.fixture
def full(monkeypatch):
    """A disk that takes nothing."""

    def fail(*_, **__):
        raise OSError("no space left\non device")

    monkeypatch.setattr(CSVLogger, "log_metrics", fail)


def test_a_logger_that_fails_does_not_stop_the_training_and_the_summary_is_not_taken_for_logged(
    tmp_path, tracked, shown, full, caplog
):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss["loss"])
            return loss

    job = Trackers(configured("logger=csv", f"paths.runs={tmp_path}").members)
    with caplog.at_level(logging.WARNING), job.fold(tracked(tmp_path / "net-0123"), FOLD) as loggers:
        trainer = Trainer(
            max_epochs=1, limit_train_batches=3, limit_val_batches=1, log_every_n_steps=1, logger=loggers, accelerator="cpu",
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(Model())
    assert trainer.global_step == 3
    assert caplog.text.count("csv did not take a metric (no space left on device)") >= 3
    assert not job.members[0].summary(shown(tmp_path / "net-0123"))


@pytest.mark.parametrize(
    ("logger", "module"), [("tensorboard", "lightning_fabric.loggers"), ("mlflow", "pytorch_lightning.loggers")]
)
def test_a_missing_package_is_named_in_one_line_with_what_to_type(tmp_path, monkeypatch, logger, module):
    class Missing:
        def __init__(self, package):
            self.package = package

        def __bool__(self):
            return False

        def __str__(self):  # as lightning_utilities words it
            return f"Requirement '{self.package}' not met. HINT: Try running `pip install -U '{self.package}'`"

    monkeypatch.setattr(f"{module}.{logger}._{logger.upper()}_AVAILABLE", Missing(logger))
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", Missing("tensorboardX"))
    with pytest.raises(UserError) as refused:
        configured(f"logger={logger}", f"paths.runs={tmp_path}")
    assert str(refused.value) == f"logger={logger} needs a package that is not installed; type: pip install '{logger}'"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"_target_": CSV, "save_dir": "logs"}, "logger._target_=pytorch_lightning.loggers.CSVLogger is no logger; name"),
        ({"mine": {"_target_": "pytorch_lightning.Trainer"}}, "is no logger; name one of Lightning's"),
        ({"mine": {"_target_": "os.system", "command": "true"}}, "_target_=os.system is not allowed"),
        ({"mine": {"_target_": CSV, "save_dirr": "logs"}}, "save_dirr"),
        ({"folds": "never"}, r"logger.folds=never is not allowed; allowed: true, false, auto"),
    ],
)
def test_what_is_no_logger_is_refused_in_one_line(config, said):
    with pytest.raises(UserError) as refused:
        trackers(config)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
