"""Cross-validation around a model that costs nothing: it answers with a number that tells who it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import seed_everything

from datamodules.synthetic import SyntheticDataModule
from experiment.contracts import FinishedFold, FoldModel, predictions
from experiment.crossval import CrossValidation
from experiment.folds import FoldScheme
from experiment.progress import Progress
from experiment.recipe import Recipe
from experiment.terminal import err
from experiment.tracking import NoTracker


class Told(Recipe):
    """A recipe whose model is not built from a config."""

    def model(self, classes: tuple[str, ...]) -> FoldModel:
        class Silent(FoldModel):
            def build_on(self, inputs: Any) -> None:
                self.inputs_given = dict(inputs)

        silent = Silent()
        silent.classes = classes
        return silent


def told(name: str, **inputs: Recipe) -> Told:
    return Told(name, name, {"_target_": name}, {}, {}, {"model": name}, inputs)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """What was fitted: (run, fold, random number drawn); fitting itself is replaced."""
    entries: list[tuple[str, str, int]] = []

    def fit(model: FoldModel, data: SyntheticDataModule, _config: Any, _callbacks: Any, _logger: Any, folder: Path) -> None:
        (folder / "model.ckpt").touch()
        run = folder.parents[1].name.rsplit("-", 1)[0]
        entries.append((run, data.split.name, int(torch.randint(2**31, (1,)))))

    def predict(model: FoldModel, data: SyntheticDataModule, _config: Any, _folder: Path) -> pd.DataFrame:
        p = np.tile([0.25, 0.75], (len(data.split.test), 1))
        return predictions(list(data.split.test), p, model.classes).assign(part="test")

    monkeypatch.setattr("experiment.crossval.fit", fit)
    monkeypatch.setattr("experiment.crossval.predict", predict)
    return entries


def validation(data: SyntheticDataModule, root: Path, **scheme: Any) -> CrossValidation:
    folds = FoldScheme(**{"k": 3, "val": 0.0, **scheme})
    config = {"seed": 7, "paths": {"runs": str(root)}, "data": {}, "callbacks": {}}
    return CrossValidation(data, folds.split(data.samples, 7), folds, config, NoTracker(), Progress(err))


def test_a_model_comes_after_those_it_is_built_on_and_those_come_once(tiny_data, tmp_path: Path, log) -> None:
    base = told("base")
    results = validation(tiny_data, tmp_path).run(told("top", a=base, b=told("middle", c=base)))
    assert [(run, fold) for run, fold, _ in log] == [
        (run, f"repeat-0/fold-{fold}") for fold in range(3) for run in ("base", "middle", "top")
    ]
    assert [result.title for result in results] == ["base", "middle", "top"]
    assert all(result.complete for result in results)


def test_a_fold_that_breaks_leaves_nothing_and_the_same_command_goes_on(tiny_data, tmp_path: Path, log, monkeypatch) -> None:
    from experiment import crossval

    working = crossval.fit

    def breaks(model: FoldModel, data: SyntheticDataModule, *rest: Any) -> None:
        working(model, data, *rest)
        if data.split.fold == 1:
            raise RuntimeError("power cut")

    monkeypatch.setattr("experiment.crossval.fit", breaks)
    with pytest.raises(RuntimeError, match="power cut"):
        validation(tiny_data, tmp_path).run(told("base"))
    assert [path.name for path in next(tmp_path.glob("base-*/repeat-0")).iterdir()] == ["fold-0"]
    monkeypatch.setattr("experiment.crossval.fit", working)
    log.clear()
    assert validation(tiny_data, tmp_path).run(told("base"))[0].complete
    assert [fold for _, fold, _ in log] == ["repeat-0/fold-1", "repeat-0/fold-2"]


def test_random_numbers_of_a_fold_do_not_depend_on_what_ran_before(tiny_data, tmp_path: Path, log) -> None:
    validation(tiny_data, tmp_path / "all").run(told("base"))
    together = {fold: number for _, fold, number in log}
    log.clear()
    for fold in (2, 0, 1):
        seed_everything(fold, verbose=False)
        validation(tiny_data, tmp_path / "alone", only=[fold]).run(told("base"))
    assert {fold: number for _, fold, number in log} == together
    assert len(set(together.values())) == 3


def test_other_images_or_another_seed_make_another_run(tiny_data, tmp_path: Path) -> None:
    one = validation(tiny_data, tmp_path)
    other = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8, seed=1)
    other.load()
    assert one.common != validation(other, tmp_path).common
    reseeded = CrossValidation(one.data, one.splits, one.scheme, {**one.config, "seed": 8}, one.tracker, one.progress)
    assert one.common != reseeded.common
    moved = CrossValidation(
        one.data, one.splits, one.scheme, {**one.config, "data": {"root": "elsewhere"}}, one.tracker, one.progress
    )
    assert one.common == moved.common


def test_repeats_predict_every_image_once_each(tiny_data, tmp_path: Path, log) -> None:
    result = validation(tiny_data, tmp_path, repeats=2).run(told("base"))[0]
    oof = pd.read_parquet(result.run.path / "oof.parquet")
    assert oof.groupby("repeat")["sample_id"].nunique().tolist() == [60, 60]
    assert len(result.scores["accuracy"]["folds"]) == 6
    assert isinstance(result.run.fold(next(iter(validation(tiny_data, tmp_path, repeats=2).splits))), FinishedFold)
