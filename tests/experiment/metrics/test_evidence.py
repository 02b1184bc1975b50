import dataclasses
import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from experiment.core.errors import UserError
from experiment.core.tables import predictions
from experiment.metrics import evidence as module
from experiment.metrics.bootstrap import Bootstrap
from experiment.metrics.comparison import holm
from experiment.metrics.evidence import TESTED, Cohort, evidence, hardest
from experiment.metrics.scores import METRICS, summarise


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(module, "RESAMPLES", 200)


@pytest.fixture
def samples(make_samples):
    """40 images of 10 patients, each of both classes."""
    return make_samples([(2, 2), (3, 1)] * 5)


def table(samples, skill, seed=0, repeats=1):
    """An out-of-fold table of a model whose logits stand `skill` higher for the true class."""
    rng = np.random.default_rng(seed)
    k = len(samples.classes)
    names = np.array(samples.classes)[samples.target]
    tables = []
    for repeat in range(repeats):
        logits = rng.normal(size=(len(names), k)) + skill * np.eye(k)[samples.target]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        tables.append(predictions(samples.sample_id, p, samples.classes).assign(repeat=repeat, fold=0, target=names))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def tables(samples):
    return {title: table(samples, skill, seed) for seed, (title, skill) in enumerate([("a", 0.5), ("b", 1.0), ("c", 2.0)])}


def test_tables_of_different_samples_are_refused_by_name(samples, tables):
    tables["b"] = tables["b"].query("sample_id != 's003'")
    with pytest.raises(UserError, match=r"^b \(repeat 0\) does not predict the same images as a: s003\.$"):
        Cohort.of(tables, samples)


def test_a_repeat_that_lacks_samples_is_refused_by_name(samples):
    short = table(samples, 1.0, repeats=2).query("repeat == 0 or sample_id != 's003'")
    with pytest.raises(UserError, match=r"^a \(repeat 1\) .* s003\.$"):
        Cohort.of({"a": short}, samples)


def test_different_numbers_of_repeats_are_refused_with_the_counts(samples):
    with pytest.raises(UserError, match=r"different numbers of repeats \(a 1, b 2\)"):
        Cohort.of({"a": table(samples, 1.0), "b": table(samples, 1.0, repeats=2)}, samples)


def test_samples_that_no_table_holds_are_left_out(samples, tables):
    cohort = Cohort.of({title: rows.query("sample_id >= 's008'") for title, rows in tables.items()}, samples)
    assert cohort.sample_id.tolist() == [f"s{number:03d}" for number in range(8, 40)]
    assert cohort.target.tolist() == samples.target[8:].tolist()
    assert cohort.clusters.count == 8


def test_the_order_of_rows_and_columns_does_not_matter(samples, tables):
    shuffled = {title: rows.sample(frac=1, random_state=1)[rows.columns[::-1]] for title, rows in tables.items()}
    assert evidence(Cohort.of(shuffled, samples)) == evidence(Cohort.of(tables, samples))


def test_values_are_those_of_the_summary_and_lie_in_their_intervals(samples):
    repeated = table(samples, 1.0, repeats=3)
    got = evidence(Cohort.of({"a": repeated}, samples))["models"]["a"]["metrics"]
    expected = summarise(repeated, samples.classes, samples.positive)
    assert list(got) == list(METRICS)
    for name, metric in got.items():
        assert metric["value"] == pytest.approx(expected[name]["value"])
        assert metric["low"] < metric["value"] < metric["high"]


def test_probabilities_are_averaged_over_repeats(samples):
    repeated = table(samples, 1.0, repeats=2)
    expected = repeated.groupby("sample_id")["p/present"].mean()
    np.testing.assert_allclose(Cohort.of({"a": repeated}, samples).of_positive("a"), expected[samples.sample_id])


def test_a_repeat_given_twice_changes_nothing(samples, tables):
    twice = {title: pd.concat([rows, rows.assign(repeat=1)]) for title, rows in tables.items()}
    one, two = (evidence(Cohort.of(given, samples)) for given in (tables, twice))
    assert two["models"]["c"]["metrics"]["auroc"] == pytest.approx(one["models"]["c"]["metrics"]["auroc"])
    assert [pair["p"] for pair in two["pairs"]] == pytest.approx([pair["p"] for pair in one["pairs"]])


def test_every_two_models_are_compared_on_every_tested_metric(samples, tables):
    pairs = evidence(Cohort.of(tables, samples))["pairs"]
    expected = [(*both, metric) for both in combinations("abc", 2) for metric in TESTED]
    assert [(pair["first"], pair["second"], pair["metric"]) for pair in pairs] == expected


def test_p_values_are_adjusted_over_all_pairs(samples, tables):
    pairs = evidence(Cohort.of(tables, samples))["pairs"]
    assert [pair["p_holm"] for pair in pairs] == holm([pair["p"] for pair in pairs])
    assert all(pair["p_holm"] >= pair["p"] for pair in pairs)
    assert any(pair["p_holm"] > pair["p"] for pair in pairs)


def test_differences_are_first_less_second(samples, tables):
    got = evidence(Cohort.of(tables, samples))
    for pair in got["pairs"]:
        first, second = (got["models"][pair[which]]["metrics"][pair["metric"]]["value"] for which in ("first", "second"))
        assert pair["difference"] == pytest.approx(first - second)
        assert pair["low"] <= pair["difference"] <= pair["high"]
        assert pair["detectable"] > 0


def test_turning_a_pair_round_mirrors_it(samples, tables):
    forward, backward = (
        evidence(Cohort.of({title: tables[title] for title in titles}, samples))["pairs"] for titles in ("ac", "ca")
    )
    for one, other in zip(forward, backward, strict=True):
        mirrored = {"difference": -other["difference"], "low": -other["high"], "high": -other["low"], "p": other["p"]}
        assert {name: one[name] for name in mirrored} == pytest.approx(mirrored)


def test_a_model_does_not_differ_from_itself(samples, tables):
    for pair in evidence(Cohort.of({"a": tables["a"], "again": tables["a"]}, samples))["pairs"]:
        assert (pair["difference"], pair["low"], pair["high"], pair["p"], pair["p_holm"]) == (0, 0, 0, 1, 1)


@pytest.mark.parametrize(("grouped", "second_opinions"), [(True, {"delong"}), (False, {"delong", "mcnemar"})])
def test_mcnemar_is_asked_only_where_images_are_independent(make_samples, grouped, second_opinions):
    samples = make_samples([(2, 2)] * 8, grouped)
    got = evidence(Cohort.of({"a": table(samples, 0.5), "b": table(samples, 2.0, seed=1)}, samples))
    assert {"delong", "mcnemar"} & {name for pair in got["pairs"] for name in pair} == second_opinions
    assert got["method"]["clusters"] == (8 if grouped else 32)
    assert ("patients" if grouped else "images") in got["method"]["interval"]


def test_three_classes_have_their_evidence_too(make_samples):
    samples = make_samples([(1, 1, 2), (2, 1, 1)] * 4)
    got = evidence(Cohort.of({"a": table(samples, 0.5), "b": table(samples, 2.0, seed=1)}, samples))
    for model in got["models"].values():
        assert np.isfinite([list(metric.values()) for metric in model["metrics"].values()]).all()
    assert not any("delong" in pair for pair in got["pairs"])
    assert got["prevalence"] == pytest.approx(1 / 4)


def test_the_evidence_is_plain_and_the_same_every_time(samples, tables):
    cohort = Cohort.of(tables, samples)
    assert json.loads(json.dumps(evidence(cohort), allow_nan=False)) == evidence(cohort)


@pytest.fixture
def wrong(make_samples):
    """Eight images of four patients, absent first; s001 and s006 are wrong in both models, s002 in one."""
    samples = make_samples([(1, 1)] * 4)
    present = {
        "a": [0.1, 0.3, 0.9, 0.8, 0.2, 0.7, 0.6, 0.9],
        "b": [0.2, 0.4, 0.1, 0.9, 0.1, 0.8, 0.9, 0.6],
    }
    frames = {}
    for title, p in present.items():
        frame = predictions(samples.sample_id, np.stack([1 - np.array(p), p], axis=1), samples.classes)
        frames[title] = frame.assign(repeat=0, fold=0)
    return Cohort.of(frames, samples)


def test_the_hardest_images_are_wrong_in_every_model_and_the_most_confident_come_first(wrong):
    # Of their own class s006 has 0.4 and 0.1, s001 0.3 and 0.4.
    got = hardest(wrong, 5)
    assert [image["sample_id"] for image in got] == ["s006", "s001"]
    assert got[0]["p"] == pytest.approx({"a": 0.4, "b": 0.1})
    assert (got[0]["group"], got[0]["target"]) == ("g03", 0)


def test_no_more_of_the_hardest_are_given_than_asked_for(wrong):
    assert [image["sample_id"] for image in hardest(wrong, 1)] == ["s006"]
    assert hardest(wrong, 0) == []


def test_the_hardest_images_are_wrong_on_average_over_repeats(make_samples):
    # Both absent images are wrong in the first repeat alone; on average s000 is, with 0.55 for present, and s001 is not.
    samples = make_samples([(1, 0), (1, 0), (0, 1)])
    present = [[0.7, 0.7, 0.9], [0.4, 0.2, 0.9]]
    repeats = [
        predictions(samples.sample_id, np.stack([1 - np.array(p), p], axis=1), samples.classes).assign(repeat=repeat)
        for repeat, p in enumerate(present)
    ]
    got = hardest(Cohort.of({"a": pd.concat(repeats)}, samples), 5)
    assert [(image["sample_id"], image["p"]["a"]) for image in got] == [("s000", pytest.approx(0.45))]


def store(tables, samples, folder):
    """The bootstrap of each table alone, as a run keeps it."""
    files = {title: folder / f"{title}.npz" for title in tables}
    for title, file in files.items():
        alone = Cohort.of({title: tables[title]}, samples)
        alone.bootstrap(title).save(file, alone.digest(title))
    return files


def test_stored_resamples_of_single_models_give_the_same_evidence(samples, tables, tmp_path, monkeypatch):
    cohort, files = Cohort.of(tables, samples), store(tables, samples, tmp_path)
    computed = evidence(cohort)
    monkeypatch.setattr(Bootstrap, "run", None)  # nothing is resampled again
    assert evidence(cohort, files) == computed


@pytest.mark.parametrize("resamples", [200, 100])
def test_stored_resamples_of_something_else_are_not_used(samples, tables, tmp_path, monkeypatch, resamples):
    files = store(tables, samples, tmp_path)
    tables["b"] = table(samples, 1.0, seed=9)
    monkeypatch.setattr(module, "RESAMPLES", resamples)
    cohort = Cohort.of(tables, samples)
    assert evidence(cohort, {**files, "a": tmp_path / "nothing.npz"}) == evidence(cohort)


def test_stored_resamples_of_other_patients_are_not_used(samples, tables, tmp_path):
    files = store(tables, samples, tmp_path)
    rows = samples.rows.assign(group=[f"other {number % 8}" for number in range(len(samples.rows))])
    regrouped = Cohort.of(tables, dataclasses.replace(samples, rows=rows))
    assert evidence(regrouped, files) == evidence(regrouped)
