from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import finished_run
from PIL import Image
from torch import Tensor

from experiment.core.contracts import FoldModel
from experiment.core.errors import UserError
from experiment.explain.explanations import explain, pointing


class Corner(FoldModel):
    """Sees the upper left pixel, where no granule lies."""

    def forward(self, images: Tensor) -> Tensor:
        p = images[:, 0, 0, 0].sigmoid()
        return torch.stack([1 - p, p], dim=1)


@pytest.fixture
def run(tiny_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiment.explain.explanations.load_model", lambda _fold: Corner())
    return finished_run(tmp_path / "corner-0123", tiny_data.samples)


def test_test_images_of_the_positive_class_are_shared_out_over_the_folds(run, tiny_data, tmp_path: Path) -> None:
    table = explain(run, tiny_data, 5, 0, tmp_path / "maps")
    assert table["fold"].tolist() == [f"repeat-0/fold-{fold}" for fold in (0, 0, 1, 1, 2)]
    for fold, sample in zip(table["fold"], table["sample_id"], strict=True):
        tested = run.splits[(run.splits["fold"] == int(fold[-1])) & (run.splits["part"] == "test")]["sample_id"]
        assert sample in set(tested)
    positive = run.samples.classes.index(run.samples.positive)
    assert run.samples.select(table["sample_id"])["target"].tolist() == [positive] * 5


def test_a_picture_is_written_for_each_and_listed(run, tiny_data, tmp_path: Path) -> None:
    explain(run, tiny_data, 3, 0, tmp_path / "maps")
    listed = pd.read_csv(tmp_path / "maps" / "explanations.csv")
    size = tiny_data.image_size
    assert [Image.open(tmp_path / "maps" / file).size for file in listed["file"]] == [(2 * size, size)] * 3


def test_where_the_truth_is_known_hits_and_the_chance_of_one_are_told(run, tiny_data, tmp_path: Path) -> None:
    explained = explain(run, tiny_data, 6, 0, tmp_path / "maps")
    masks = [tiny_data.granule_mask(sample) for sample in explained["sample_id"]]
    # smoothing reflects at the border, so the peak stays in the corner
    assert explained["hit"].tolist() == [bool(mask[0, 0]) for mask in masks]
    assert explained["area"].tolist() == pytest.approx([mask.mean() for mask in masks])


def test_hits_in_words() -> None:
    table = pd.DataFrame({"hit": [True, True, True, False], "area": [0.01, 0.03, 0.02, 0.02]})
    assert pointing(table) == "hottest pixel on a granule: 75% of 4 images; a random pixel: 2.0%"
    assert pointing(table[[]]) is None


def test_no_images_is_refused(run, tiny_data, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images=0 is not allowed; take 1 or more\."):
        explain(run, tiny_data, 0, 0, tmp_path)


def test_another_seed_draws_other_images(run, tiny_data, tmp_path: Path) -> None:
    drawn = {tuple(explain(run, tiny_data, 3, seed, tmp_path / str(seed))["sample_id"]) for seed in range(5)}
    assert len(drawn) > 1
    assert np.all([len(set(one)) == 3 for one in drawn])
