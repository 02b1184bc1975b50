"""A trial around a model that costs nothing and answers each fold as well as it is told to."""

import json
from typing import Any

import numpy as np
import pytest

from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme
from experiment.core.tables import predictions
from experiment.run.cross_validation import CrossValidation, one_by_one
from experiment.run.recipe import Recipe
from experiment.sweep.ledger import Ledger, ledgers
from experiment.sweep.trial import RacedOutError, trial
from experiment.terminal.consoles import err
from experiment.terminal.progress import Progress
from experiment.tracking.trackers import Tracker, Trackers

K = 4


class Silent(FoldModel):
    classes = ("absent", "present")


class StandIn(Tracker):
    """Keeps what it is told of trials that were stopped."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def stopped(self, tracked: Any, numbers: Any) -> bool:
        self.seen.append((tracked, numbers))
        return True


class Given(Recipe):
    def model(self, classes: tuple[str, ...]) -> FoldModel:
        return Silent()


def recipe(name: str) -> Given:
    return Given(name, name, {"_target_": name}, {}, {}, {"model": name}, {})


@pytest.fixture
def job(tiny_data, tmp_path, monkeypatch):
    """Makes a validation whose models are right on a share of the rows, fold by fold; and what was fitted."""
    fitted: list[str] = []
    tracker = StandIn()
    monkeypatch.setattr("experiment.sweep.trial.trial_settings", lambda config: config["settings"])
    monkeypatch.setattr("experiment.run.cross_validation.fit", lambda _m, data, *_: fitted.append(data.split.name))

    def made(right: list[float], settings: dict[str, str] | None, val: float = 0.3, **config: Any) -> CrossValidation:
        def predict(_model: FoldModel, data: Any, *_: Any) -> Any:
            parts = []
            for part in ("val", "test"):
                ids = list(getattr(data.split, part))
                truth = data.samples.select(ids)["target"].to_numpy()
                # of each class the first rows are told right
                order = np.array([(truth[:row] == truth[row]).sum() / (truth == truth[row]).sum() for row in range(len(ids))])
                said = np.where(order < right[data.split.fold], truth, 1 - truth)
                p = np.eye(2)[said] * 0.8 + 0.1
                parts.append(predictions(ids, p, ("absent", "present")).assign(part=part))
            import pandas as pd

            return pd.concat(parts, ignore_index=True)

        monkeypatch.setattr("experiment.run.cross_validation.predict", predict)
        scheme = FoldScheme(k=K, val=val)
        whole = {
            "seed": 7, "paths": {"runs": str(tmp_path)}, "reuse": "same_code", "data": {"_target_": "of.Pictures"},
            "callbacks": {}, "settings": settings,
            "objective": "val/balanced_accuracy", "sweep": {"name": "sweep", "race": None}, **config,
        }  # fmt: skip
        return CrossValidation(
            tiny_data, scheme.split(tiny_data.samples, 7), scheme, whole, Trackers([tracker]), Progress(err)
        )

    made.fitted, made.stopped = fitted, tracker.seen  # type: ignore[attr-defined]
    return made


def run(validation: CrossValidation, name: str) -> None:
    with trial(validation, recipe(name)) as (job, racing):
        job.run(recipe(name), racing(one_by_one))


def test_a_complete_trial_is_noted_with_the_objective_of_each_fold(job, tmp_path) -> None:
    run(job([1.0, 1.0, 1.0, 0.0], {"lr": "1"}), "good")
    (noted,) = Ledger.at(tmp_path / "sweeps" / "sweep").trials()
    assert (noted.state, noted.settings, noted.run.rsplit("-", 2)[0]) == ("complete", {"lr": "1"}, "good")
    assert [noted.folds[f"repeat-0/fold-{fold}"] for fold in range(K)] == [[1.0], [1.0], [1.0], [0.0]]
    assert noted.values == [0.75]


@pytest.fixture
def sweep_command(monkeypatch):
    """Makes this process one of a sweep that varies some settings."""

    def pass_on(*keys: str, trials: int | None = None) -> None:
        monkeypatch.setenv("EM_GRANULES_SWEEP", json.dumps({"text": "python train.py -m", "keys": keys, "trials": trials}))

    return pass_on


def test_unnamed_sweeps_meet_only_if_they_vary_the_same_settings_and_share_all_others(job, tmp_path, sweep_command) -> None:
    unnamed = {"sweep": {"name": None, "race": None}}
    for keys, settings in (
        (["lr"], {"model": "resnet", "lr": "1"}),
        (["lr"], {"model": "resnet", "lr": "2", "logger": "none"}),  # another command that varies the same
        (["lr"], {"model": "svm", "lr": "1"}),
        (["C", "model"], {"model": "svm", "C": "1"}),
        (["C", "model"], {"model": "resnet", "C": "1"}),
    ):
        sweep_command(*keys)
        run(job([1.0] * K, settings, **unnamed), "-".join(settings.values()))
    found = sorted((ledger.name.rpartition("-")[0], len(ledger.trials())) for ledger in ledgers(tmp_path))
    assert found == [("C-model", 2), ("lr", 1), ("lr", 2)]


def test_a_sweep_says_what_its_images_are_and_what_test_rows_give(job, tmp_path, sweep_command) -> None:
    sweep_command("lr")
    run(job([1.0] * K, {"lr": "1"}), "good")
    ledger = Ledger.at(tmp_path / "sweeps" / "sweep")
    assert ledger.data.startswith("Pictures; ")
    assert ledger.data.endswith("; seed 7")
    (noted,) = ledger.trials()
    assert (noted.test_value, noted.command) == (1.0, "python train.py -m")


def test_the_line_of_a_trial_names_what_the_sweep_varies(job, sweep_command, capsys) -> None:
    sweep_command("model.lr", "trunk", trials=6)
    run(job([1.0, 1.0, 1.0, 0.0], {"model": "resnet", "trunk": "small", "model.lr": "0.10"}), "good")
    assert "lr=0.1 trunk=small: val/balanced_accuracy 0.750, " in capsys.readouterr().err


def test_a_job_outside_of_sweeps_leaves_no_note(job, tmp_path) -> None:
    run(job([1.0] * K, None), "alone")
    assert not (tmp_path / "sweeps").exists()


def test_a_trial_that_fails_is_noted_and_its_error_goes_on(job, tmp_path, monkeypatch) -> None:
    validation = job([1.0] * K, {})

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("no\nluck")

    monkeypatch.setattr("experiment.run.cross_validation.fit", broken)
    with pytest.raises(ZeroDivisionError):
        run(validation, "bad")
    (noted,) = Ledger.at(tmp_path / "sweeps" / "sweep").trials()
    assert (noted.state, noted.note) == ("failed", "ZeroDivisionError: no")


def test_a_hopeless_trial_is_given_up_after_its_first_fold_and_what_it_has_stays(job, tmp_path) -> None:
    race = {"sweep": {"name": "sweep", "race": 0.1}}
    for number, right in enumerate(([1.0] * K, [1.0, 1.0, 1.0, 0.9], [0.9, 1.0, 0.9, 1.0])):
        run(job(right, {"n": str(number)}, **race), f"ok{number}")
    del job.fitted[:]
    with pytest.raises(RacedOutError, match=r"after 1 of 4 folds: a chance of 0\.00"):
        run(job([0.2] * K, {"n": "3"}, **race), "hopeless")
    assert job.fitted == ["repeat-0/fold-0"]
    last = Ledger.at(tmp_path / "sweeps" / "sweep").trials()[-1]
    assert (last.state, list(last.folds)) == ("raced out", ["repeat-0/fold-0"])
    ((tracked, numbers),) = job.stopped
    assert (tracked.run.name, tracked.sweep) == (last.run, tmp_path / "sweeps" / "sweep")
    assert numbers == {"objective": last.values[0], "objective/val/balanced_accuracy": last.values[0], "finished_folds": 1}


def test_without_a_race_nothing_is_given_up(job) -> None:
    for number in range(3):
        run(job([1.0] * K, {"n": str(number)}), f"ok{number}")
    run(job([0.0] * K, {"n": "3"}), "hopeless")
    assert len(job.fitted) == 4 * K


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val": 0.0}, r"needs val rows, but folds\.val=0"),
        ({"sweep": {"name": "sweep", "race": 1.5}}, r"sweep\.race=1\.5 is not allowed"),
        ({"sweep": {"name": "sweep", "race": 0.1}, "objective": ["val/auroc", "seconds"]}, "compares one number"),
        ({"objective": "val/nothing"}, "val/balanced_accuracy"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_work(job, changes, said) -> None:
    with pytest.raises(UserError, match=said):
        run(job([1.0] * K, {}, **changes), "never")
    assert job.fitted == []
