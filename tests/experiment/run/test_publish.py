import json

import numpy as np
import pytest
from finished_runs import finished_run

from experiment.metrics import evidence
from experiment.run import publish as publishing
from experiment.store.results import Result
from experiment.tracking.trackers import Tracked, Tracker, Trackers

OBJECTIVE = "val/balanced_accuracy"


class Data:
    """The part of a data module that a report uses."""

    def picture(self, sample_id):
        return np.zeros((4, 4), np.uint8)


class StandIn(Tracker):
    """Keeps what it is told while it works."""

    name = "stand-in"

    def __init__(self, works=True):
        self.works, self.summaries, self.stopped_trials = works, [], []

    def summary(self, shown):
        if self.works:
            self.summaries.append(shown)
        return self.works

    def stopped(self, tracked, numbers):
        self.stopped_trials.append(numbers)
        return self.works


def publish(results, data, *trackers, objective=OBJECTIVE, sweep=None, folds="auto", page=True):
    tracked = [Tracked(result.run.path, result.title, {}, sweep=sweep) for result in results]
    return publishing.publish(results, tracked, data, Trackers(trackers, folds), objective, page)


@pytest.fixture
def written(monkeypatch):
    """Folders that a report was written into; the pages themselves are empty."""
    folders = []

    def write(content, folder, picture):
        folders.append(folder)
        (folder / "report.html").touch()
        (folder / "evidence.json").write_text(json.dumps({"headline": list(content.headline)}))

    monkeypatch.setattr(publishing, "write", write)
    return folders


@pytest.fixture
def results(tmp_path, make_samples, monkeypatch):
    """A network, and an ensemble of it and another."""
    monkeypatch.setattr(evidence, "RESAMPLES", 50)
    samples = make_samples([(2, 1), (1, 2)] * 4)
    one, two = (finished_run(tmp_path / name, samples, seed=seed) for seed, name in enumerate(("one", "two")))
    both = finished_run(tmp_path / "both", samples, seed=2, inputs={"one": one, "two": two})
    return [Result(run.title, run, 3, 3, run.scores, run.cost) for run in (one, two, both)]


def test_the_report_is_written_once_beside_the_last_run(results, written):
    page = results[-1].run.path / "report.html"
    first, again = publish(results, Data()), publish(results, Data())
    assert first == again == page
    assert written == [page.parent]


def test_the_tracker_is_told_of_each_run_once(results, written):
    tracker = StandIn()
    publish(results, Data(), tracker)
    publish(results, Data(), tracker)
    assert [shown.tracked.run for shown in tracker.summaries] == [result.run.path for result in results]


def test_what_the_tracker_is_told_belongs_to_the_run(results, written):
    tracker = StandIn()
    publish(results, Data(), tracker)
    for result, shown in zip(results, tracker.summaries, strict=True):
        assert shown.tracked.title == result.title
        assert shown.scores == result.scores
        value = shown.evidence["metrics"]["auroc"]["value"]
        assert value == pytest.approx(result.scores["auroc"]["value"])
        assert len(shown.pairs) == 2 * 2
        assert all(result.title in (pair["first"], pair["second"]) for pair in shown.pairs)
        assert shown.cost["seconds"] == 3 * 2.0
        assert set(shown.oof["sample_id"]) == {f"s{number:03d}" for number in range(24)}
        assert {file.parent for file in shown.files} == {result.run.path}


def test_a_tracker_that_failed_is_told_again(results, written):
    publish(results, Data(), StandIn(works=False))
    tracker = StandIn()
    publish(results, Data(), tracker)
    assert len(tracker.summaries) == 3
    assert len(written) == 1


def test_a_tracker_that_was_not_there_before_is_told_and_the_other_is_not_forgotten(results, written):
    publish(results, Data())
    first, second = StandIn(), StandIn()
    second.name = "second"
    publish(results, Data(), first)
    publish(results, Data(), second)
    publish(results, Data(), first)
    assert [len(tracker.summaries) for tracker in (first, second)] == [3, 3]
    assert json.loads((results[0].run.path / "shown.json").read_text()) == ["stand-in", "second"]
    assert len(written) == 1


def test_only_runs_that_were_not_shown_are(results, written):
    publish(results[:1], Data(), StandIn())
    tracker = StandIn()
    publish(results, Data(), tracker)
    assert [shown.tracked.run.name for shown in tracker.summaries] == ["two", "both"]


def test_nothing_is_published_while_folds_are_missing(results, written):
    last = results[-1]
    tracker = StandIn()
    assert publish([*results[:-1], Result(last.title, last.run, 2, 3, last.scores, last.cost)], Data(), tracker) is None
    assert (written, tracker.summaries) == ([], [])


def test_the_report_holds_every_model(results):
    text = publish(results, Data()).read_text()
    assert all(f"<tr><th>{result.title}</th>" in text for result in results)


def test_a_sweep_wants_no_page_but_the_tracker_is_told_the_objective_of_each_run_and_which_was_asked_for(results, written):
    tracker = StandIn()
    assert publish(results, Data(), tracker, objective=["val/auroc", "seconds"], page=False) is None
    assert written == []
    assert [(shown.tracked.run.name, shown.asked) for shown in tracker.summaries] == [
        ("one", False),
        ("two", False),
        ("both", True),
    ]
    assert set(tracker.summaries[-1].objective) == {"val/auroc", "seconds"}


def test_in_a_sweep_the_trackers_are_told_of_the_trial_alone_unless_all_is_asked_for(results, written, tmp_path):
    one, all_of = StandIn(), StandIn()
    for _ in range(2):
        publish(results, Data(), one, sweep=tmp_path / "grid", page=False)
    all_of.name = "other"
    publish(results, Data(), all_of, sweep=tmp_path / "grid", folds=True, page=False)
    assert [len(tracker.summaries) for tracker in (one, all_of)] == [1, 3]
    assert one.summaries[0].asked


def test_a_trial_is_told_again_in_another_sweep(results, written, tmp_path):
    tracker = StandIn()
    for name in ("grid", "other grid", "grid"):
        publish(results, Data(), tracker, sweep=tmp_path / name, page=False)
    assert [shown.tracked.sweep.name for shown in tracker.summaries] == ["grid", "other grid"]


def test_a_trial_that_was_stopped_is_told_once_with_its_objective_so_far(results, tmp_path):
    tracker, tracked = StandIn(), Tracked(results[0].run.path, "one", {}, sweep=tmp_path / "grid")
    for folds in (1, 1, 2):
        publishing.publish_stopped(tracked, Trackers([tracker]), {"val/auroc": 0.25}, folds)
    assert tracker.stopped_trials == [
        {"objective": 0.25, "objective/val/auroc": 0.25, "finished_folds": folds} for folds in (1, 2)
    ]
