import numpy as np
import pandas as pd
import pytest

from experiment.core.tables import FinishedFold, Split, predictions
from experiment.metrics.out_of_fold import check_oof, out_of_fold, probabilities

CLASSES = ("absent", "present")
SPLITS = [Split(0, 0, fit=("c", "d"), val=(), test=("a", "b")), Split(0, 1, fit=("a", "b"), val=(), test=("c", "d"))]


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"],
            "repeat": 0,
            "fold": [0, 0, 1, 1],
            "target": ["absent", "present", "absent", "present"],
            "p/absent": [0.9, 0.25, 0.5, 0.0],
            "p/present": [0.1, 0.75, 0.5, 1.0],
        }
    )


def test_a_complete_table_is_accepted(table):
    check_oof(table, SPLITS, CLASSES)


def test_the_order_of_rows_does_not_matter(table):
    check_oof(table.iloc[::-1], SPLITS, CLASSES)


def test_a_gap_is_refused_naming_the_sample(table):
    with pytest.raises(ValueError, match=r"no prediction for .*\(0, 1, 'c'\)"):
        check_oof(table[table["sample_id"] != "c"], SPLITS, CLASSES)


def test_a_double_is_refused_naming_the_sample(table):
    with pytest.raises(ValueError, match=r"duplicate rows: \(0, 0, 'b'\)$"):
        check_oof(pd.concat([table, table.iloc[[1]]]), SPLITS, CLASSES)


def test_a_row_of_another_fold_is_refused_naming_it(table):
    stray = table.iloc[[0]].assign(fold=1)
    with pytest.raises(ValueError, match=r"not test rows of their fold: \(0, 1, 'a'\)$"):
        check_oof(pd.concat([table, stray]), SPLITS, CLASSES)


def test_a_sample_of_no_fold_is_refused_naming_it(table):
    stray = table.iloc[[0]].assign(sample_id="zebra")
    with pytest.raises(ValueError, match=r"not test rows of their fold: .*'zebra'"):
        check_oof(pd.concat([table, stray]), SPLITS, CLASSES)


@pytest.mark.parametrize("p", [(0.6, 0.6), (0.4, 0.5), (1.5, -0.5), (np.nan, 0.75), (np.nan, np.nan), (np.inf, 0.0)])
def test_what_is_no_probability_is_refused_naming_the_sample(table, p):
    table.loc[1, ["p/absent", "p/present"]] = p
    with pytest.raises(ValueError, match=r"not probabilities that sum to one: b$"):
        check_oof(table, SPLITS, CLASSES)


def test_float32_rounding_is_not_refused(table):
    table.loc[1, ["p/absent", "p/present"]] = (0.25 + 1e-6, 0.75)
    check_oof(table, SPLITS, CLASSES)


@pytest.mark.parametrize("target", ["unheard of", None])
def test_a_target_that_is_no_class_is_refused(table, target):
    table["target"] = table["target"].astype(object)
    table.loc[2, "target"] = target
    with pytest.raises(ValueError, match=r"targets .* are not of \['absent', 'present'\]"):
        check_oof(table, SPLITS, CLASSES)


def test_probabilities_are_taken_by_name(table):
    shuffled = table[["p/present", "sample_id", "p/absent"]]
    assert probabilities(shuffled, CLASSES).tolist() == [[0.9, 0.1], [0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]


@pytest.fixture
def finish(tmp_path):
    """Writes a fold's predictions, in the order given, and returns the finished fold."""

    def write(fold, test, val=()):
        folder = tmp_path / f"fold-{fold}"
        folder.mkdir()
        rows = {**dict(val), **test}
        parts = ["val"] * len(val) + ["test"] * len(test)
        table = predictions(list(rows), np.array(list(rows.values())), CLASSES).assign(part=parts)
        table.to_parquet(folder / "predictions.parquet", index=False)
        return FinishedFold(folder)

    return write


@pytest.fixture
def samples(make_samples):
    """s000 and s001 are absent, s002 and s003 present."""
    return make_samples([(2, 2)], grouped=False)


def test_the_table_is_sorted_and_joined_with_class_names(samples, finish):
    first = Split(0, 0, ("s001", "s002"), (), ("s000", "s003"))
    second = Split(0, 1, ("s000", "s003"), (), ("s001", "s002"))
    folds = [
        (second, finish(1, {"s002": (0.1, 0.9), "s001": (0.7, 0.3)})),
        (first, finish(0, {"s003": (0.2, 0.8), "s000": (0.6, 0.4)})),
    ]
    got = out_of_fold(folds, samples)
    assert got.to_dict("split")["data"] == [
        ["s000", 0, 0, "absent", 0.6, 0.4],
        ["s003", 0, 0, "present", 0.2, 0.8],
        ["s001", 0, 1, "absent", 0.7, 0.3],
        ["s002", 0, 1, "present", 0.1, 0.9],
    ]
    assert list(got.columns) == ["sample_id", "repeat", "fold", "target", "p/absent", "p/present"]


def test_val_rows_are_left_out(samples, finish):
    split = Split(0, 0, ("s001",), ("s002",), ("s000", "s003"))
    fold = finish(0, {"s000": (0.6, 0.4), "s003": (0.2, 0.8)}, val={"s002": (0.5, 0.5)})
    assert out_of_fold([(split, fold)], samples)["sample_id"].tolist() == ["s000", "s003"]


def test_a_fold_that_lacks_a_prediction_is_refused(samples, finish):
    split = Split(0, 0, ("s001", "s002"), (), ("s000", "s003"))
    with pytest.raises(ValueError, match=r"no prediction for .*\(0, 0, 's003'\)"):
        out_of_fold([(split, finish(0, {"s000": (0.6, 0.4)}))], samples)


def test_a_fold_that_predicts_a_row_it_was_fitted_on_is_refused(samples, finish):
    split = Split(0, 0, ("s001", "s002", "s003"), (), ("s000",))
    with pytest.raises(ValueError, match=r"not test rows of their fold: \(0, 0, 's001'\)"):
        out_of_fold([(split, finish(0, {"s000": (0.6, 0.4), "s001": (0.5, 0.5)}))], samples)
