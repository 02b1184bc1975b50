import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from finished_runs import finished_run

from datamodules.synthetic import SyntheticDataModule
from experiment.core.errors import UserError
from experiment.metrics import evidence
from experiment.report.content import gather
from experiment.report.requests import build_report, load_runs
from experiment.store.runs import Run


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 50)


@pytest.fixture
def samples(make_samples):
    return make_samples([(2, 1), (1, 2)] * 4)


@pytest.fixture
def runs(tmp_path, samples):
    """Two networks and an ensemble of them."""
    one, two = (finished_run(tmp_path / name, samples, seed=seed) for seed, name in enumerate(("one", "two")))
    return one, two, finished_run(tmp_path / "both", samples, seed=2, inputs={"one": one, "two": two})


def test_one_run_brings_those_it_is_built_on_and_is_reported_in_its_folder(runs, tmp_path):
    found, folder = load_runs(str(runs[2].path), None)
    assert found == list(runs)
    assert folder == runs[2].path


def test_several_runs_are_compared_as_named_beside_the_first(runs, tmp_path):
    found, folder = load_runs([str(runs[1].path), str(runs[0].path)], None)
    assert found == [runs[1], runs[0]]
    assert folder.parent == tmp_path
    assert re.fullmatch("comparison-[0-9a-f]{12}", folder.name)


def test_a_comparison_has_its_place_whatever_the_order_and_another_has_another(runs):
    one, two, both = (str(run.path) for run in runs)
    assert load_runs([one, two], None)[1].name == load_runs([two, one], None)[1].name
    assert load_runs([one, two], None)[1] != load_runs([one, both], None)[1]


@pytest.mark.parametrize("several", [True, False])
def test_the_folder_may_be_given(runs, tmp_path, several):
    given = [str(run.path) for run in runs[:2]] if several else str(runs[0].path)
    assert load_runs(given, str(tmp_path / "out"))[1] == tmp_path / "out"


def test_a_run_named_twice_is_refused_however_it_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="names a run twice"):
        load_runs(["one", str(runs[0].path)], None)


def test_no_run_is_refused():
    with pytest.raises(UserError, match="names no run"):
        load_runs([], None)


def test_a_folder_without_a_run_is_refused_by_name(runs, tmp_path):
    with pytest.raises(UserError, match="nowhere is not a complete run"):
        load_runs([str(runs[0].path), str(tmp_path / "nowhere")], None)


def test_runs_of_other_images_are_refused_by_name(runs, tmp_path, make_samples):
    other = finished_run(tmp_path / "other", make_samples([(2, 1), (1, 2)] * 4 + [(1, 1)]))
    with pytest.raises(UserError, match=r"does not predict the same images as one: s024, s025\."):
        gather([runs[0], other])


def test_runs_of_another_question_are_refused(runs, tmp_path, samples):
    turned = finished_run(tmp_path / "turned", dataclasses.replace(samples, positive="absent"))
    with pytest.raises(UserError, match=r"turned has the classes .* \(positive: absent\), one has .* \(positive: present\)"):
        gather([runs[0], turned])


def rewritten(run, **settings):
    """The run with other settings of its model in its config."""
    config = {**run.config, "model": {**run.config["model"], **settings}}
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    return Run.load(run.path)


def test_models_that_share_a_name_are_told_apart_by_their_settings(tmp_path, samples):
    runs = [
        rewritten(finished_run(tmp_path / f"net-{number}", samples, seed=number, name="net"), lr=lr)
        for number, lr in enumerate((4e-4, 2e-4))
    ]
    third = finished_run(tmp_path / "svm-0", samples, seed=2, name="svm")
    assert list(gather([*runs, third]).runs) == ["net lr=4e-4", "net lr=2e-4", "svm"]
    page = build_report(runs, tmp_path / "out")
    text = page.read_text()
    assert "<title>net lr=4e-4 and net lr=2e-4</title>" in text
    assert text.count("net lr=4e-4") > 10  # headline, keys, tables, figures
    assert "net-0" in text.partition("How it was made")[2]  # where the folder is named
    assert "net-0" not in text.partition("How it was made")[0]


def test_models_of_the_same_settings_are_told_apart_by_their_folders(tmp_path, samples):
    runs = [finished_run(tmp_path / f"net-{number}", samples, seed=number, name="net") for number in range(2)]
    third = finished_run(tmp_path / "svm-0", samples, seed=2, name="svm")
    assert list(gather([*runs, third]).runs) == ["net-0", "net-1", "svm"]


def test_a_comparison_is_not_called_after_one_of_its_runs(runs, tmp_path, samples):
    assert gather(runs[:2]).title == "one and two"
    assert gather(runs).title == "both"
    more = [finished_run(tmp_path / name, samples, seed=3) for name in ("three", "four")]
    assert gather([*runs[:2], *more]).title == "4 models"


def test_only_an_ensemble_has_choices_to_be_optimistic_about(runs):
    assert gather(runs).gaps
    assert gather(runs[:2]).gaps == []


def test_folds_are_counted_in_groups_images_and_positives(runs):
    splits = gather(runs).splits
    assert len(splits) == 3 * 3
    assert splits.groupby("fold")[["groups", "images", "positives"]].sum().to_numpy().tolist() == [[8, 24, 12]] * 3


def test_a_report_whose_images_have_moved_is_written_without_them(runs, tmp_path):
    page = build_report(runs, tmp_path / "out")  # their data module is not there
    assert page == tmp_path / "out" / "report.html"
    assert "<img" not in page.read_text()


class Evil:
    """Pickled, it is a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_nothing_that_a_stored_config_names_is_run(runs, tmp_path):
    ran, checkpoint = tmp_path / "ran", tmp_path / "evil.ckpt"
    torch.save(Evil(ran), checkpoint)
    unsafe = {
        "_target_": "pytorch_lightning.LightningModule.load_from_checkpoint",
        "checkpoint_path": str(checkpoint),
        "weights_only": False,
    }
    folder = {"_target_": "datamodules.folder.FolderDataModule", "root": "", "image_size": 32}
    for data in (unsafe, {**folder, "labels": unsafe}, {**folder, "augment": [{"of": unsafe}]}):
        (runs[2].path / "config.yaml").write_text(yaml.safe_dump({**runs[2].config, "data": data}))
        build_report([*runs[:2], Run.load(runs[2].path)], tmp_path / "out")
        assert not ran.exists()


def test_pictures_are_those_of_the_data_module(tmp_path):
    settings = {"images": 24, "patients": 8, "image_size": 32, "difficulty": 0.0, "batch_size": 4}
    data = SyntheticDataModule(**settings)
    run = finished_run(tmp_path / "net-0", data.load(), skill=0.0)
    config = {**run.config, "data": {"_target_": "datamodules.synthetic.SyntheticDataModule", **settings}}
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    page = build_report(load_runs(str(run.path), None)[0], tmp_path / "out")
    wrong = np.mean(run.oof[["p/absent", "p/present"]].idxmax(axis=1).str.removeprefix("p/") != run.oof["target"]) * 24
    assert page.read_text().count("data:image/jpeg") == min(wrong, 12)
