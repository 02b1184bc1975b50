"""Several processes give the numbers that one gives."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console

from experiment.core.build import plain
from experiment.run.cross_validation import one_by_one
from experiment.run.job import prepare
from experiment.run.parallel import side_by_side, work_of
from experiment.run.workers import Workers

CONF = Path(__file__).resolve().parents[3] / "conf"
TINY = [
    "data.images=48", "data.patients=12", "data.image_size=32", "data.batch_size=8", "data.difficulty=0", "folds.k=2",
    "folds.val=0.3", "trainer=cpu", "trainer.max_epochs=1", "logger=none",
]  # fmt: skip


FROZEN_ONLY = [
    "~model.members.resnet", "model.members.resnet_svm.features_from=pretrained",
    "+model@model.members.linear=resnet_svm", "model.members.linear.features_from=pretrained",
]  # fmt: skip


def config(runs: Path, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF)):
        return plain(compose("train", [*TINY, f"paths.runs={runs}", *overrides]))


def test_folds_side_by_side_give_the_numbers_of_one_after_the_other(tmp_path: Path, read_oof) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    validation, recipe = prepare(config(tmp_path / "serial"), Console(quiet=True))
    serial = validation.run(recipe, one_by_one)
    log = io.StringIO()
    validation, recipe = prepare(config(tmp_path / "parallel"), Console(file=log, width=200))
    parallel = validation.run(recipe, lambda v, missing: side_by_side(v, missing, Workers(2, 1)))
    for one, other in zip(serial, parallel, strict=True):
        assert one.run.name == other.run.name
        pd.testing.assert_frame_equal(read_oof(one.run.path), read_oof(other.run.path), check_exact=True)
    lines = log.getvalue().splitlines()
    assert sum("repeat-0/fold-" in line for line in lines) == 6
    assert "[6/6] ensemble" in lines[-1]


def test_a_fold_alone_gives_the_numbers_that_it_gives_among_others(tmp_path: Path, read_oof) -> None:  # type: ignore[no-untyped-def]
    workers = Workers(2, 1, even=2, wide=2)
    tables = []
    for name, only in (("all", "null"), ("alone", "[2]")):
        overrides = ["model=resnet", "folds.k=3", f"folds.only={only}"]
        validation, recipe = prepare(config(tmp_path / name, *overrides), Console(file=io.StringIO()))
        (result,) = validation.run(recipe, lambda v, missing: side_by_side(v, missing, workers))
        assert result.done == (3 if only == "null" else 1)
        tables.append(pd.read_parquet(result.run.path / "repeat-0" / "fold-2" / "predictions.parquet"))
    assert torch.get_num_threads() == 2
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.parametrize(
    ("overrides", "processes", "threads"),
    [
        (["folds.parallel=1"], None, 6),
        (["folds.parallel=2"], 2, 3),
        (["folds.parallel=2", "folds.only=[1]"], None, 3),  # the numbers that it gives among others
        (["folds.parallel=2", "folds.k=3", "folds.only=[1]"], None, 3),
        (["folds.parallel=2", "folds.k=3", "folds.only=[2]"], None, 6),  # two at a time leave one over
        (["folds.parallel=2", "model=resnet_svm", "model.features_from=pretrained"], None, 6),  # no gradient step
        (["folds.parallel=2", "model=ensemble", *FROZEN_ONLY], None, 6),
    ],
)
def test_a_job_is_shared_out_as_its_config_says(
    overrides: list[str], processes: int | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    seen: list[Any] = []
    monkeypatch.setattr("experiment.run.parallel.one_by_one", lambda *_: seen.append((None, torch.get_num_threads())))

    def run_tasks(tasks: Any, workers: Workers, *_: Any) -> Iterator[Any]:
        seen.append((workers.processes, workers.threads))
        yield from ()

    monkeypatch.setattr("experiment.run.parallel.run_tasks", run_tasks)
    monkeypatch.setattr("experiment.run.cross_validation.merge", lambda *_: None)
    validation, recipe = prepare(config(tmp_path, *overrides), Console(file=io.StringIO()))
    validation.run(recipe, work_of(validation, recipe))
    assert seen == [(processes, threads)]


def test_a_number_of_processes_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"folds.parallel=0 is not allowed; take auto, or 1 or more"):
        prepare(config(tmp_path, "folds.parallel=0"), Console(file=io.StringIO()))
