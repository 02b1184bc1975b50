import json

import numpy as np
import pandas as pd
import pytest
import yaml

from experiment.core.folds import FoldScheme
from experiment.core.tables import predictions
from experiment.metrics import evidence
from experiment.metrics.scores import summarise
from experiment.report.checklist import ITEMS, checklist
from experiment.report.content import gather
from experiment.report.method_facts import spanned
from experiment.report.result_facts import FACTS, facts
from experiment.store.runs import Run, write_samples

CLAIM = [str(number) for number in range(1, 45)]
LETTERS = {
    "3": "abc",
    "5": "ab",
    "6": "abc",
    "8": "abc",
    "9": "abc",
    "12": "abcdefg",
    "18": "abcdef",
    "20": "abc",
    "23": "ab",
    "27": "abc",
}
TRIPOD = [number + letter for number in map(str, range(1, 28)) for letter in LETTERS.get(number, [""])]
MODEL = {
    "name": "net", "_target_": "some.Net", "lr": 0.25, "head": {"class_weights": "balanced"},
    "trunk": {"name": "deep", "weights": "/somewhere/deep.pth"},
}  # fmt: skip


@pytest.fixture
def content(tmp_path, make_samples, monkeypatch):
    """A report on one run: 30 images of 10 groups, or of no groups, 3 folds, 4 epochs."""
    monkeypatch.setattr(evidence, "RESAMPLES", 50)

    def make(grouped=True, by_group=True, model=MODEL, versions=True, seed=7, name="net-0", others=(), epochs=4):
        samples = make_samples([(2, 1), (1, 2)] * 5, grouped)
        settings = {"grouped": by_group, "k": 3, "repeats": 1, "val": 0.2}
        splits = FoldScheme(**settings).split(samples, seed)
        folder = tmp_path / name
        names, rng, tables = np.array(samples.classes)[samples.target], np.random.default_rng(0), []
        for split in splits:
            rows = np.isin(samples.sample_id, split.test)
            p = rng.dirichlet([1, 1], rows.sum())
            table = predictions(samples.sample_id[rows], p, samples.classes)
            tables.append(table.assign(repeat=split.repeat, fold=split.fold, target=names[rows]))
            marker = {"inputs": {}, "seconds": 60.0} | (
                {"versions": {"torch": "2.12", "machine": "a box"}} if versions else {}
            )
            (folder / split.name).mkdir(parents=True)
            (folder / split.name / "finished.json").write_text(json.dumps(marker))
            curve = pd.DataFrame({"epoch": range(epochs), "train/loss": [4.0, 3.0, 2.0, 1.0][:epochs]})
            curve.to_csv(folder / split.name / "history.csv", index=False)
        oof = pd.concat(tables, ignore_index=True)
        config = {
            "data": {"_target_": "some.Data", "image_size": 48, "batch_size": 5, "on_duplicate": "error"},
            "folds": settings, "model": model, "trainer": {"max_epochs": 4, "precision": "32-true"}, "seed": seed,
        }  # fmt: skip
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (folder / "identity.json").write_text("{}")
        (folder / "metrics.json").write_text(json.dumps(summarise(oof, samples.classes, samples.positive)))
        oof.to_parquet(folder / "oof.parquet")
        splits.table.to_parquet(folder / "splits.parquet")
        write_samples(samples, folder / "samples.parquet")
        return gather([*others, Run.load(folder)])

    return make


def answers(content):
    return {(item.list, item.number): item.answer for item in checklist(content)}


def test_each_number_stands_once_and_in_order(content):
    numbers = [(item.list, item.number) for item in checklist(content())]
    assert numbers == [("CLAIM 2024", n) for n in CLAIM] + [("TRIPOD+AI", n) for n in TRIPOD]


def test_every_key_is_a_fact_and_every_fact_is_asked_for(content):
    asked = {key for items in yaml.safe_load(ITEMS.read_text()).values() for _, _, keys in items for key in keys}
    assert asked == set(FACTS) == set(facts(content()))


def test_what_the_software_cannot_know_is_a_to_do(content):
    found = answers(content())
    assert [found[key] for key in [("CLAIM 2024", "14"), ("CLAIM 2024", "44"), ("TRIPOD+AI", "17")]] == [None] * 3


def test_partition_by_group(content):
    expected = "3 folds by group (patient); fit, val and test of each fold share no group; 10 groups, 30 images; seed 7"
    assert answers(content())["CLAIM 2024", "20"] == expected


def test_partition_without_groups_speaks_of_images_only(content):
    stated = answers(content(grouped=False, seed=3))["CLAIM 2024", "20"]
    assert stated.startswith("3 folds by image;")
    assert stated.endswith("share no image; 30 images; the data set names no groups; seed 3")
    assert "patient" not in " ".join(facts(content(grouped=False, name="net-1")).values())


def test_groups_that_cross_parts_are_told(content):
    stated = facts(content(by_group=False))
    assert "share groups in 3 of 3 folds" in stated["partition"]
    assert "without it, but with others of its group in 3 of 3 folds" in stated["testing"]


def test_compared_runs_with_other_folds_are_told_apart(content):
    stated = facts(content(name="net-2", seed=8, others=[content().last]))["partition"]
    assert stated.startswith("net seed=7: 3 folds")
    assert stated.endswith("seed 8")
    assert "seed 7; net seed=8:" in stated


def test_sizes_of_parts_add_up(content):
    made = content()
    stated = facts(made)
    test = made.last.splits.query("part == 'test'").groupby("fold").size()
    assert test.sum() == 30
    assert f"test {spanned(test)} images of " in stated["splits"]
    assert stated["size"] == "10 groups, 30 images: 15 absent, 15 present"
    assert stated["missing"].startswith("each of 30 images has a label; 30 of 30 predictions")


def test_settings_are_those_of_the_run(content):
    stated = facts(content())
    assert stated["hyperparameters"] == "net: lr 0.25, head (class_weights balanced)"
    assert stated["balance"] == "15 absent, 15 present; class weights: net: balanced"
    assert stated["training"] == "net: 4 epochs in each of 3 folds, precision 32-true, batch_size 5"
    assert (
        stated["model"]
        == "net: Net on trunk name deep; input: an image of 48 pixels a side; output: probabilities of absent, present"
    )
    assert stated["software"] == "torch 2.12"
    assert stated["compute"] == "a box; net: 3.0 min for 3 folds"


def test_one_epoch_is_no_plural(content):
    assert facts(content(epochs=1))["training"].startswith("net: 1 epoch in each of 3 folds, ")


@pytest.mark.parametrize(("given", "stated"), [("/somewhere/deep.pth", "deep.pth"), ("V1", "V1"), (None, "random")])
def test_weights_without_the_folder_they_lie_in(content, given, stated):
    assert facts(content(model={**MODEL, "trunk": {"weights": given}}))["weights"] == f"net: {stated}"


def test_recorded_callbacks_say_which_epoch_is_kept(content):
    made = content()
    assert "epoch" not in facts(made)["selection"]
    keeper = {"_target_": "some.ModelCheckpoint", "monitor": "val/auroc"}
    for callbacks, kept in (({}, "net: last epoch"), ({"best": keeper}, "net: epoch with the best val/auroc")):
        made.last.record["callbacks"] = callbacks
        assert facts(made)["selection"].startswith(kept + ";")


def test_how_a_model_says_it_was_fitted_is_told_with_its_folds(content):
    made = content()
    said = {"repeat-0/fold-0": "exact", "repeat-0/fold-1": "approximated", "repeat-0/fold-2": "approximated"}
    made.last.__dict__["markers"] = {fold: {"inputs": {}, "how_fitted": how} for fold, how in said.items()}
    assert facts(made)["training"].endswith("batch_size 5, exact in 1 of 3 folds, approximated in 2 of 3 folds")


def test_what_was_not_recorded_is_a_to_do(content):
    bare = {key: value for key, value in MODEL.items() if key not in ("trunk", "head")}
    made = content(model=bare, versions=False)
    assert set(FACTS) - set(facts(made)) == {"software", "weights", "balance"}
    found = answers(made)
    assert [found["CLAIM 2024", number] for number in ("23", "24")] == [None, None]
    assert found["TRIPOD+AI", "13"] is None


def test_wrong_predictions_are_counted_by_class(content):
    made = content()
    wrong = [sum(row) - row[k] for k, row in enumerate(made.confusion["net"])]
    assert f"net: {wrong[0]} of 15 absent and {wrong[1]} of 15 present" in facts(made)["failures"]


def test_a_span_is_one_number_where_there_is_one():
    assert (spanned([4, 2, 3]), spanned([5, 5])) == ("2 to 4", "5")


def test_members_of_an_ensemble(content):
    content(name="a-0"), content(name="b-0")
    made = content()
    assert facts(made)["ensemble"] == "no model combines others"
    inputs = {name: f"{name}-0/repeat-0/fold-0" for name in "ab"}
    made.last.__dict__["markers"] = {"repeat-0/fold-0": {"inputs": inputs}}  # as read from an ensemble's folder
    stated = facts(made)
    assert stated["ensemble"].startswith("net: combines a and b, lr 0.25")
    assert stated["weights"] == "net: from a and b of the same fold"
