"""Cross-validation around a model that costs nothing: it answers with a number that tells who it was."""

import copy
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import seed_everything
from rich.console import Console

from datamodules.synthetic import SyntheticDataModule
from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme
from experiment.core.tables import FinishedFold, predictions
from experiment.metrics.bootstrap import Bootstrap
from experiment.metrics.evidence import Cohort
from experiment.report.evidence_file import Numbers
from experiment.run.cross_validation import CrossValidation
from experiment.run.recipe import Recipe, plan
from experiment.store.attempt import failure
from experiment.store.lease import Lease
from experiment.store.runs import Run
from experiment.terminal.consoles import err
from experiment.terminal.progress import Progress
from experiment.tracking.trackers import Trackers


class Fixed(Recipe):
    """A recipe whose model is not built from a config."""

    def model(self, classes: tuple[str, ...]) -> FoldModel:
        class Silent(FoldModel):
            def build_on(self, inputs: Any) -> None:
                self.inputs_given = dict(inputs)

        silent = Silent()
        silent.classes = classes
        return silent


def fixed(name: str, **inputs: Recipe) -> Fixed:
    return Fixed(name, name, {"_target_": name}, {}, {}, {"model": name}, {}, inputs)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """What was fitted: (run, fold, random number drawn); fitting itself is replaced."""
    entries: list[tuple[str, str, int]] = []

    def fit(
        model: FoldModel, data: SyntheticDataModule, _config: Any, _callbacks: Any, _logger: Any, folder: Path, _: Any
    ) -> None:
        (folder / "model.ckpt").touch()
        run = folder.parents[1].name.rsplit("-", 2)[0]
        entries.append((run, data.split.name, int(torch.randint(2**31, (1,)))))

    def predict(model: FoldModel, data: SyntheticDataModule, *_: Any) -> pd.DataFrame:
        p = np.tile([0.25, 0.75], (len(data.split.test), 1))
        return predictions(list(data.split.test), p, model.classes).assign(part="test")

    monkeypatch.setattr("experiment.run.cross_validation.fit", fit)
    monkeypatch.setattr("experiment.run.cross_validation.predict", predict)
    return entries


def validation(data: SyntheticDataModule, root: Path, **scheme: Any) -> CrossValidation:
    folds = FoldScheme(**{"k": 3, "val": 0.0, **scheme})
    config = {"seed": 7, "paths": {"runs": str(root)}, "data": {}, "callbacks": {}, "reuse": "same_code"}
    return CrossValidation(data, folds.split(data.samples, 7), folds, config, Trackers(), Progress(err))


def test_a_model_comes_after_those_it_is_built_on_and_those_come_once(tiny_data, tmp_path: Path, log) -> None:
    base = fixed("base")
    results = validation(tiny_data, tmp_path).run(fixed("top", a=base, b=fixed("middle", c=base)))
    assert [(run, fold) for run, fold, _ in log] == [
        (run, f"repeat-0/fold-{fold}") for fold in range(3) for run in ("base", "middle", "top")
    ]
    assert [result.title for result in results] == ["base", "middle", "top"]
    assert all(result.complete for result in results)


def test_a_fold_that_breaks_leaves_nothing_and_the_same_command_goes_on(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    from experiment.run import cross_validation as crossval

    working = crossval.fit

    def breaks(model: FoldModel, data: SyntheticDataModule, *rest: Any) -> None:
        working(model, data, *rest)
        if data.split.fold == 1:
            raise RuntimeError("power cut")

    monkeypatch.setattr("experiment.run.cross_validation.fit", breaks)
    with pytest.raises(RuntimeError, match="power cut"):
        validation(tiny_data, tmp_path).run(fixed("base"))
    left = next(tmp_path.glob("base-*/repeat-0"))
    assert sorted(path.name for path in left.iterdir()) == [".fold-1.failed", "fold-0"]
    assert "RuntimeError: power cut" in str(failure(left / ".fold-1.failed"))
    monkeypatch.setattr("experiment.run.cross_validation.fit", working)
    log.clear()
    assert validation(tiny_data, tmp_path).run(fixed("base"))[0].complete
    assert [fold for _, fold, _ in log] == ["repeat-0/fold-1", "repeat-0/fold-2"]
    assert sorted(path.name for path in left.iterdir()) == ["fold-0", "fold-1", "fold-2"]


def test_random_numbers_of_a_fold_do_not_depend_on_what_ran_before(tiny_data, tmp_path: Path, log) -> None:
    validation(tiny_data, tmp_path / "all").run(fixed("base"))
    together = {fold: number for _, fold, number in log}
    log.clear()
    for fold in (2, 0, 1):
        seed_everything(fold, verbose=False)
        validation(tiny_data, tmp_path / "alone", only=[fold]).run(fixed("base"))
    assert {fold: number for _, fold, number in log} == together
    assert len(set(together.values())) == 3


def test_other_images_or_another_seed_make_another_run(tiny_data, tmp_path: Path) -> None:
    one = validation(tiny_data, tmp_path)
    other = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8, seed=1)
    other.load()
    assert one.common != validation(other, tmp_path).common
    reseeded = CrossValidation(one.data, one.splits, one.scheme, {**one.config, "seed": 8}, one.trackers, one.progress)
    assert one.common != reseeded.common
    moved = CrossValidation(
        one.data, one.splits, one.scheme, {**one.config, "data": {"root": "elsewhere"}}, one.trackers, one.progress
    )
    assert one.common == moved.common


def test_repeats_predict_every_image_once_each(tiny_data, tmp_path: Path, log) -> None:
    result = validation(tiny_data, tmp_path, repeats=2).run(fixed("base"))[0]
    oof = pd.read_parquet(result.run.path / "oof.parquet")
    assert oof.groupby("repeat")["sample_id"].nunique().tolist() == [60, 60]
    assert len(result.scores["accuracy"]["folds"]) == 6
    assert isinstance(result.run.fold(next(iter(validation(tiny_data, tmp_path, repeats=2).splits))), FinishedFold)


def test_the_report_resamples_nothing_that_the_runs_have_resampled(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    last = validation(tiny_data, tmp_path).run(fixed("top", a=fixed("base")))[-1].run
    monkeypatch.setattr(Bootstrap, "run", None)
    runs = {run.title: run for run in Run.load(last.path).with_inputs()}
    cohort = Cohort.of({title: run.oof for title, run in runs.items()}, last.samples)
    shown = Numbers.of(cohort, runs, []).evidence["models"]["top"]["metrics"]
    stored = json.loads((last.path / "metrics.json").read_text())
    assert {(name, end): shown[name][end] for name in shown for end in ("low", "high")} == pytest.approx(
        {(name, end): stored[name][end] for name in shown for end in ("low", "high")}, nan_ok=True, rel=0, abs=0
    )


def test_a_finished_run_of_another_place_is_taken_as_it_is(tiny_data, tmp_path: Path, log) -> None:
    elsewhere = validation(tiny_data, tmp_path / "elsewhere").run(fixed("base"))[0].run.path
    log.clear()
    member = plan({"run": str(elsewhere)}, {}, {}, has_val=False, title="taken")
    results = validation(tiny_data, tmp_path / "here").run(fixed("top", a=member))
    assert {run for run, _, _ in log} == {"top"}
    assert [result.title for result in results] == ["taken", "top"]
    assert results[0].run.path == elsewhere
    inputs = Run.load(results[1].run.path).inputs()
    assert {name: run.path for name, run in inputs.items()} == {"a": elsewhere}


def test_a_finished_run_of_other_folds_images_or_classes_is_refused(tiny_data, tmp_path: Path, log) -> None:
    elsewhere = validation(tiny_data, tmp_path / "elsewhere").run(fixed("base"))[0].run.path
    top = fixed("top", a=plan({"run": str(elsewhere)}, {}, {}, has_val=False, title="taken"))
    with pytest.raises(UserError, match=r"taken: run .* has other folds"):
        validation(tiny_data, tmp_path, k=2).run(top)
    other = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8, seed=1)
    other.load()
    with pytest.raises(UserError, match=r"has other images"):
        validation(other, tmp_path).run(top)
    samples = tiny_data.samples
    renamed = copy.copy(tiny_data)
    renamed.samples = replace(samples, classes=("no", "yes"), positive="yes")
    with pytest.raises(UserError, match=r"has other classes, \['absent', 'present'\]"):
        validation(renamed, tmp_path).run(top)


def test_metrics_are_stored_with_their_intervals_once_all_folds_are_there(tiny_data, tmp_path: Path, log) -> None:
    partly = validation(tiny_data, tmp_path, only=[0]).run(fixed("base"))[0]
    assert "low" not in partly.scores["accuracy"]
    whole = validation(tiny_data, tmp_path).run(fixed("base"))[0]
    stored = json.loads((whole.run.path / "metrics.json").read_text())["accuracy"]
    assert stored["low"] <= stored["value"] <= stored["high"]
    assert validation(tiny_data, tmp_path).run(fixed("base"))[0].scores["accuracy"] == stored


def test_a_finished_fold_holds_how_its_model_says_it_was_fitted(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    monkeypatch.setattr(FoldModel, "how_fitted", "by hand")
    result = validation(tiny_data, tmp_path).run(fixed("one"))[0]
    markers = [json.loads(path.read_text()) for path in result.run.path.glob("repeat-0/fold-*/finished.json")]
    assert [marker["how_fitted"] for marker in markers] == ["by hand"] * 3


def test_folds_that_another_job_is_at_come_last_and_are_taken_from_it(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    elsewhere = validation(tiny_data, tmp_path)
    base = fixed("base")
    run = elsewhere.run_of(base)
    lease = Lease.take(run.neighbour(next(iter(elsewhere.splits)), "lease"))
    assert lease is not None

    def meanwhile(seconds: float) -> None:
        """The other job finishes its fold while this one waits for it."""
        assert [fold for _, fold, _ in log] == ["repeat-0/fold-1", "repeat-0/fold-2"]
        with run.writing(next(iter(elsewhere.splits)), {"seconds": 1.0, "theirs": True}) as folder:
            ids = next(iter(elsewhere.splits)).test
            table = predictions(list(ids), np.tile([0.25, 0.75], (len(ids), 1)), ("absent", "present"))
            table.assign(part="test").to_parquet(folder / "predictions.parquet", index=False)
        lease.give_back()

    monkeypatch.setattr("experiment.run.cross_validation.time.sleep", meanwhile)
    said = io.StringIO()
    job = validation(tiny_data, tmp_path)
    job = replace(job, progress=Progress(Console(file=said, width=200)))
    result = job.run(base)[0]
    assert result.complete
    assert len(log) == 2
    assert json.loads((run.path / "repeat-0/fold-0/finished.json").read_text())["theirs"]
    lines = [line for line in said.getvalue().splitlines() if "works on it" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"base repeat-0/fold-0: process {os.getpid()} on ")


def test_what_is_built_on_a_fold_of_another_job_waits_for_it(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    job = validation(tiny_data, tmp_path)
    base = fixed("base")
    lease = Lease.take(job.run_of(base).neighbour(next(iter(job.splits)), "lease"))
    assert lease is not None
    monkeypatch.setattr("experiment.run.cross_validation.time.sleep", lambda _: lease.give_back())  # the other job gives up
    assert job.run(fixed("top", a=base))[1].complete
    assert [(run, fold[-1]) for run, fold, _ in log] == [
        ("base", "1"), ("top", "1"), ("base", "2"), ("top", "2"), ("base", "0"), ("top", "0"),
    ]  # fmt: skip


def test_nothing_is_left_beside_finished_folds(tiny_data, tmp_path: Path, log) -> None:
    run = validation(tiny_data, tmp_path).run(fixed("base"))[0].run
    assert sorted(path.name for path in (run.path / "repeat-0").iterdir()) == ["fold-0", "fold-1", "fold-2"]


def test_who_is_stopped_gives_the_lease_back_and_has_not_failed(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    def stopped(*_: Any) -> None:
        raise SystemExit(1)

    monkeypatch.setattr("experiment.run.cross_validation.fit", stopped)
    with pytest.raises(SystemExit):
        validation(tiny_data, tmp_path).run(fixed("base"))
    assert list(next(tmp_path.glob("base-*/repeat-0")).iterdir()) == []
