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
from experiment.explain.explanations import SIDE, explain


class Corner(FoldModel):
    """Sees the upper left pixel, where no granule lies."""

    def forward(self, images: Tensor) -> Tensor:
        p = images[:, 0, 0, 0].sigmoid()
        return torch.stack([1 - p, p], dim=1)


@pytest.fixture
def run(tiny_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiment.explain.explanations.load_model", lambda _fold: Corner())
    return finished_run(tmp_path / "corner-0123", tiny_data.samples)


def test_both_classes_are_mapped_by_the_model_of_their_fold(run, tiny_data, tmp_path: Path) -> None:
    table = explain(run, tiny_data, 8, 0, tmp_path / "maps")
    assert table["kind"].tolist() == [
        kind for kind in ("false negative", "false positive", "true positive", "true negative") for _ in range(2)
    ]
    for fold, sample in zip(table["fold"], table["sample_id"], strict=True):
        tested = run.splits[(run.splits["fold"] == int(fold[-1])) & (run.splits["part"] == "test")]["sample_id"]
        assert sample in set(tested)


def test_the_table_names_label_decision_and_probability(run, tiny_data, tmp_path: Path) -> None:
    explain(run, tiny_data, 8, 0, tmp_path / "maps")
    listed = pd.read_csv(tmp_path / "maps" / "explanations.csv").set_index("sample_id")
    oof = run.oof.set_index("sample_id").loc[listed.index]
    assert listed["label"].tolist() == oof["target"].tolist()
    assert listed["p"].tolist() == pytest.approx(oof["p/present"].tolist())
    assert listed["decided"].tolist() == ["present" if p > 0.5 else "absent" for p in oof["p/present"]]
    assert set(listed["group"]) <= set(tiny_data.samples.group)


def test_a_large_picture_is_written_for_each_and_listed(run, tiny_data, tmp_path: Path) -> None:
    explain(run, tiny_data, 3, 0, tmp_path / "maps")
    listed = pd.read_csv(tmp_path / "maps" / "explanations.csv")["file"].tolist()
    assert [Image.open(tmp_path / "maps" / file).size for file in listed] == [(2 * SIDE, SIDE)] * 3
    explain(run, tiny_data, 1, 1, tmp_path / "maps")
    assert len(list((tmp_path / "maps").glob("*.png"))) == 1  # those of the earlier choice are gone


def test_a_file_name_has_one_ending(run, tiny_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tiny_data.samples.rows
    named = {sample: f"{sample}.png" for sample in rows["sample_id"]}
    monkeypatch.setitem(run.__dict__, "oof", run.oof.replace({"sample_id": named}))
    samples = type(run.samples)(rows.replace({"sample_id": named}), run.samples.classes, run.samples.positive, True)
    monkeypatch.setitem(run.__dict__, "samples", samples)
    original = {name: sample for sample, name in named.items()}

    class Renamed:
        def views(self, ids):
            return tiny_data.views([original[one] for one in ids])

        def picture(self, one):
            return tiny_data.picture(original[one])

    table = explain(run, Renamed(), 4, 0, tmp_path / "maps")  # type: ignore[arg-type]
    assert all(file.count(".png") == 1 for file in table["file"])
    assert table["file"].is_unique
    assert "hit" not in table  # these data do not know the truth


def test_where_the_truth_is_known_images_of_the_class_are_scored(run, tiny_data, tmp_path: Path) -> None:
    table = explain(run, tiny_data, 8, 0, tmp_path / "maps")
    scored = table[table["label"] == "present"]
    masks = [tiny_data.granule_mask(sample) for sample in scored["sample_id"]]
    # smoothing reflects at the border, so the peak stays in the corner
    assert scored["hit"].tolist() == [bool(mask[0, 0]) for mask in masks]
    assert scored["area"].tolist() == pytest.approx([mask.mean() for mask in masks])
    assert table.loc[table["label"] == "absent", ["hit", "area"]].isna().all(axis=None)


def test_no_images_is_refused(run, tiny_data, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images=0 is not allowed; take 1 or more\."):
        explain(run, tiny_data, 0, 0, tmp_path)


def test_the_same_seed_gives_the_same_pictures(run, tiny_data, tmp_path: Path) -> None:
    tables = [explain(run, tiny_data, 2, 3, tmp_path / name) for name in ("one", "other")]
    pd.testing.assert_frame_equal(*tables)
    for file in tables[0]["file"]:
        one, other = (np.asarray(Image.open(tmp_path / name / file)) for name in ("one", "other"))
        assert np.array_equal(one, other)
