import os
from pathlib import Path

import pytest

from experiment.core.cost import cost
from experiment.run import again
from experiment.run.again import Command
from experiment.store.results import Result
from experiment.store.runs import Run


@pytest.fixture
def images(tmp_path):
    """A folder of two files."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_text(name)
    return tmp_path / "images"


@pytest.fixture
def config(tmp_path, images):
    (tmp_path / "weights.pth").write_text("weights")
    return {
        "paths": {"runs": str(tmp_path / "runs"), "cache_gb": 1},
        "data": {"root": str(images), "labels": "labels.csv", "cache": str(tmp_path / "runs" / "cache")},
        "model": {"backbone": {"weights": str(tmp_path / "weights.pth")}, "members": ["a", "b"]},
        "seed": 0,
    }


@pytest.fixture
def finished(tmp_path, config):
    """A command of one run with one fold."""
    path = tmp_path / "runs" / "net-0"
    (path / "repeat-0" / "fold-0").mkdir(parents=True)
    (path / "repeat-0" / "fold-0" / "finished.json").write_text("{}")
    (path / "identity.json").write_text("{}")
    (path / "metrics.json").write_text('{"auroc": {"value": 0.5}}')
    Command.of(config).finished([Result("net", Run.load(path, "net"), 1, 1, {"auroc": {"value": 0.5}}, cost([]))])
    return path


def test_a_command_that_was_never_finished_has_no_results(config):
    assert Command.of(config).results() is None


def test_the_same_command_has_the_results_of_before(config, finished):
    (got,) = Command.of(config).results()
    assert (got.title, got.run.path, got.done, got.folds) == ("net", finished, 1, 1)
    assert got.scores == {"auroc": {"value": 0.5}}


def changed(path: Path) -> None:
    path.write_text(path.read_text() + "more")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: changed(folder / "images" / "a.png"),
        lambda folder: os.utime(folder / "images" / "a.png", (1, 1)),
        lambda folder: (folder / "images" / "a.png").unlink(),
        lambda folder: (folder / "images" / "c.png").touch(),
        lambda folder: changed(folder / "weights.pth"),
        lambda folder: (folder / "runs" / "net-0" / "repeat-0" / "fold-0" / "finished.json").unlink(),
        lambda folder: (folder / "runs" / "net-0" / "metrics.json").unlink(),
    ],
)
def test_what_changed_since_is_noticed(config, finished, tmp_path, change):
    change(tmp_path)
    assert Command.of(config).results() is None


def test_another_setting_is_another_command(config, finished):
    assert Command.of({**config, "seed": 1}).results() is None


def test_other_code_is_another_command(config, finished, monkeypatch):
    monkeypatch.setattr(again, "source", lambda: "another")
    assert Command.of(config).results() is None


def test_what_the_job_itself_writes_changes_nothing(config, finished, tmp_path):
    (tmp_path / "runs" / "cache").mkdir()
    (tmp_path / "runs" / "cache" / "new").touch()
    assert Command.of(config).results() is not None


def test_images_behind_a_link_count_and_a_circle_ends(config, tmp_path, images):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").touch()
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "round").symlink_to(images)
    before = Command.of(config)
    assert Command.of(config) == before
    changed(tmp_path / "elsewhere" / "c.png")
    assert Command.of(config) != before
