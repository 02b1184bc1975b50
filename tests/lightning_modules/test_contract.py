"""What every model must do. A new yaml in conf/model is tested before its author writes a test."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from datamodules.synthetic import SyntheticDataModule
from experiment.core.build import plain
from experiment.core.contracts import Batch
from experiment.core.folds import FoldScheme
from experiment.core.tables import probability_columns
from experiment.run.cross_validation import CrossValidation
from experiment.run.fitted_model import load_model
from experiment.run.recipe import plan
from experiment.store.results import Result
from experiment.terminal.consoles import err
from experiment.terminal.progress import Progress
from experiment.tracking.trackers import Trackers

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
TINY = [
    "data.images=60", "data.patients=12", "data.image_size=32", "data.batch_size=16", "data.difficulty=0", "folds.k=2",
    "folds.val=0.3", "trainer.max_epochs=1", "trainer=cpu", "logger=none", "callbacks=none",
]  # fmt: skip
# A small trunk of each family.
TRUNKS = {
    "resnet": [],
    "convnext": ["trunk=timm", "trunk.name=convnext_atto"],
    "vit": ["trunk=timm", "trunk.name=vit_tiny_patch16_224"],
}
# A model whose default learns nothing is tested with a setting that does, or the test for leaks could not fail.
LEARNING = {"ensemble": ["model.combiner=stacking", "model.calibration=val"]}


def configured(model: str, root: Path, *overrides: str) -> dict[str, Any]:
    stem, _, trunk = model.partition("-")
    chosen = [f"model={stem}", f"paths.runs={root}", *TINY, *TRUNKS[trunk or "resnet"], *LEARNING.get(stem, []), *overrides]
    with initialize_config_dir(str(CONF)):
        return plain(compose("train", chosen))


def validation(config: dict[str, Any], data: SyntheticDataModule) -> CrossValidation:
    scheme = FoldScheme(**{key: value for key, value in config["folds"].items() if key != "_target_"})
    return CrossValidation(data, scheme.split(data.samples, config["seed"]), scheme, config, Trackers(), Progress(err))


def cross_validated(model: str, root: Path, data: SyntheticDataModule, *overrides: str) -> list[Result]:
    config = configured(model, root, *overrides)
    return validation(config, data).run(plan(config["model"], config["trainer"], config["callbacks"], has_val=True))


@pytest.fixture(scope="module", params=[f"{model}-{trunk}" for trunk in TRUNKS for model in MODELS])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: SyntheticDataModule):
    """Each model of conf/model on each trunk, cross-validated in two folds on tiny images."""
    root = tmp_path_factory.mktemp(request.param)
    return request.param, root, cross_validated(request.param, root, tiny_data)[-1]


def test_every_image_is_predicted_once_with_proper_probabilities(finished, tiny_data: SyntheticDataModule) -> None:
    _, _, result = finished
    oof = pd.read_parquet(result.run.path / "oof.parquet")
    assert sorted(oof["sample_id"]) == sorted(tiny_data.samples.sample_id)
    assert list(oof.columns) == ["sample_id", "repeat", "fold", "target", "p/absent", "p/present"]
    np.testing.assert_allclose(oof[["p/absent", "p/present"]].sum(axis=1), 1, atol=1e-6)


def test_a_checkpoint_loads_without_running_code_and_predicts_what_the_table_says(finished, tiny_data) -> None:
    _, root, result = finished
    split = next(iter(validation(configured("resnet", root), tiny_data).splits))
    fold = result.run.fold(split)
    torch.load(fold.checkpoint, weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a hundred lines about batch norm would hide what matters
        model = load_model(fold)
    tiny_data.set_split(split)
    ids, rows = [], []
    with torch.inference_mode():
        for raw in tiny_data.rows_loader(tiny_data.split.test):
            batch: Batch = tiny_data.on_after_batch_transfer(raw, 0)
            rows.append(model(batch["image"]).float().numpy())
            ids += batch["sample_id"]
    stored = fold.predictions("test").set_index("sample_id").loc[ids, probability_columns(model.classes)].to_numpy()
    # the table may have been made in bfloat16
    np.testing.assert_allclose(np.concatenate(rows), stored, atol=0.05)


def test_val_predictions_cover_the_val_rows_and_nothing_else(finished, tiny_data) -> None:
    _, root, result = finished
    for split in validation(configured("resnet", root), tiny_data).splits:
        assert sorted(result.run.fold(split).predictions("val")["sample_id"]) == sorted(split.val)


def test_the_same_command_again_trains_nothing_and_gives_the_same_numbers(finished, tiny_data, monkeypatch) -> None:
    model, root, result = finished
    monkeypatch.setattr("experiment.run.cross_validation.fit", lambda *_: pytest.fail("fitted again"))
    monkeypatch.setattr("experiment.run.cross_validation.CrossValidation._combine", lambda *_: pytest.fail("combined again"))
    again = cross_validated(model, root, tiny_data)[-1]
    assert (again.run.path, again.scores) == (result.run.path, result.scores)


def test_folds_run_alone_and_in_another_order_merge_to_the_same_numbers(finished, tiny_data, tmp_path, read_oof) -> None:
    model, _, result = finished
    partial = cross_validated(model, tmp_path, tiny_data, "folds.only=[1]")[-1]
    assert (partial.done, partial.complete) == (1, False)
    assert not (partial.run.path / "oof.parquet").exists()
    cross_validated(model, tmp_path, tiny_data, "folds.only=[0]")
    merged = cross_validated(model, tmp_path, tiny_data)[-1]
    assert merged.run.name == result.run.name
    pd.testing.assert_frame_equal(read_oof(merged.run.path), read_oof(result.run.path), check_exact=True)


def poisoned(data: SyntheticDataModule, sample_ids: tuple[str, ...]) -> SyntheticDataModule:
    """The same data module with the labels of these samples flipped and their images replaced by noise."""
    other = SyntheticDataModule(images=60, patients=12, difficulty=0.0, image_size=32, batch_size=8)
    other.load()
    rows = other.samples.rows
    hit = rows["sample_id"].isin(sample_ids)
    rows.loc[hit, "target"] = 1 - rows.loc[hit, "target"]
    squares = other._decoded.blocks.blocks[0]["square"]
    squares[hit] = np.random.default_rng(0).integers(0, 256, squares[hit].shape)
    return other


def test_no_test_row_reaches_fitting_selection_or_calibration(finished, tiny_data, tmp_path) -> None:
    """Test rows with wrong labels and noise for images leave every fitted number of the fold as it was, to the bit."""
    model, _root, result = finished
    config = configured(model, tmp_path, "folds.only=[0]")
    clean = validation(config, tiny_data)
    split = next(iter(clean.splits))
    # the folds of the clean data: poisoned labels must not move who is where
    dirty = CrossValidation(poisoned(tiny_data, split.test), clean.splits, clean.scheme, config, Trackers(), clean.progress)
    run = dirty.run(plan(config["model"], config["trainer"], config["callbacks"], has_val=True))[-1].run
    fitted, refitted = (torch.load(r.fold(split).checkpoint, weights_only=True)["state_dict"] for r in (result.run, run))
    assert fitted.keys() == refitted.keys()
    for key, value in fitted.items():
        assert torch.equal(value, refitted[key]), key
    before, after = (r.fold(split).predictions("val") for r in (result.run, run))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert not result.run.fold(split).predictions("test").equals(run.fold(split).predictions("test"))


def test_three_classes_work_like_two(finished, tmp_path) -> None:
    model, _, _ = finished
    data = SyntheticDataModule(images=48, patients=12, difficulty=0.0, image_size=32, batch_size=16)
    data.load()
    rows = data.samples.rows.assign(target=np.arange(48) % 3)
    object.__setattr__(data, "samples", type(data.samples)(rows, ("a", "b", "c"), "c", True))
    result = cross_validated(model, tmp_path, data)[-1]
    oof = pd.read_parquet(result.run.path / "oof.parquet")
    np.testing.assert_allclose(oof[["p/a", "p/b", "p/c"]].sum(axis=1), 1, atol=1e-6)
    assert set(result.scores) >= {"balanced_accuracy", "auroc"}
