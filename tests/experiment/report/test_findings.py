from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiment.core.tables import Greys
from experiment.report.findings import doubts, headline, number, pair_of, ranked, still_falling, verdict, warnings

NAN = float("nan")


def metric(value, low=None, high=None):
    return {"value": value, "low": value - 0.1 if low is None else low, "high": value + 0.1 if high is None else high}


def model(balanced_accuracy, auroc=0.8, ece=0.01):
    metrics = {"balanced_accuracy": metric(balanced_accuracy), "auroc": metric(auroc)}
    return {"metrics": metrics, "calibration": {"ece": ece}}


def pair(first, second, metric, difference=0.1, p_holm=0.5, detectable=0.25):
    return {
        "first": first, "second": second, "metric": metric, "difference": difference, "low": difference - 0.01,
        "high": difference + 0.02, "p_holm": p_holm, "detectable": detectable,
    }  # fmt: skip


def evidence(models, *pairs):
    return {"models": models, "pairs": list(pairs)}


ONE = evidence({"net": model(0.75)})
TWO = evidence(
    {"net": model(0.75, auroc=0.875), "svm": model(0.85)},
    pair("net", "svm", "balanced_accuracy", difference=-0.1, p_holm=0.02),
    pair("net", "svm", "auroc", difference=0.075, p_holm=0.5),
)


def test_models_are_ranked_by_balanced_accuracy_and_the_undefined_last():
    assert ranked(evidence({"a": model(0.7), "b": model(NAN), "c": model(0.9)})) == ["c", "a", "b"]


def test_the_headline_names_the_best_model_and_both_intervals():
    assert headline(TWO, {})[0] == (
        "Best of 2 models: svm, balanced accuracy 0.850 (95 % interval 0.750 to 0.950) "
        "and AUROC 0.800 (95 % interval 0.700 to 0.900)."
    )


def test_the_second_sentence_compares_the_best_with_the_next_from_its_own_side():
    assert headline(TWO, {})[1] == (
        "Against the next, net: better in balanced accuracy (+0.100, 95 % interval +0.080 to +0.110, p = 0.02 after Holm) and "
        "not told apart in AUROC (−0.075, 95 % interval −0.095 to −0.065, p = 0.5 after Holm); each interval is of one "
        "comparison, p is adjusted for all 2."
    )


def test_one_model_is_not_called_the_best():
    assert headline(ONE, {}) == [
        "net, balanced accuracy 0.750 (95 % interval 0.650 to 0.850) and AUROC 0.800 (95 % interval 0.700 to 0.900)."
    ]


@pytest.mark.parametrize(
    ("difference", "p_holm", "shown"),
    [(0.1, 0.049, "better"), (-0.1, 0.049, "worse"), (0.1, 0.05, "not told apart"), (NAN, NAN, "not told apart")],
)
def test_a_comparison_has_one_of_three_verdicts(difference, p_holm, shown):
    assert verdict(pair("a", "b", "auroc", difference=difference, p_holm=p_holm)) == shown


def test_a_model_that_is_surely_worse_in_a_metric_is_called_worse():
    found = evidence(
        {"net": model(0.75), "svm": model(0.85)},
        pair("svm", "net", "balanced_accuracy", difference=0.1, p_holm=0.001),
        pair("net", "svm", "auroc", difference=0.1, p_holm=0.001),
    )
    assert "worse in AUROC (−0.100" in headline(found, {})[1]


def test_only_a_model_that_beats_each_other_is_called_the_best():
    def found(p_of_third):
        return evidence(
            {"net": model(0.75), "svm": model(0.85), "third": model(0.5)},
            *(pair("svm", "net", name, p_holm=0.01) for name in ("balanced_accuracy", "auroc")),
            *(pair("svm", "third", name, p_holm=p_of_third) for name in ("balanced_accuracy", "auroc")),
        )

    assert headline(found(0.01), {})[0].startswith("Best of 3 models: svm, ")
    assert headline(found(0.06), {})[0].startswith("Highest, but not shown to be best, of 3 models: svm, ")
    assert headline(found(0.01), {"svm": ["no better than chance"]})[0].startswith("Highest, but not shown to be best, of 3")


GOOD = [[9, 1], [2, 8]]


def test_a_model_whose_interval_includes_chance_is_doubted():
    found = evidence(
        {"net": {**model(0.75), "metrics": {"balanced_accuracy": metric(0.6, 0.5, 0.7), "auroc": metric(0.7, 0.6)}}}
    )
    assert doubts(found, {"net": GOOD}, ["absent", "present"]) == {
        "net": [
            "net: not shown to be better than chance: balanced accuracy 0.600 (95 % interval 0.500 to 0.700), chance 0.500."
        ]
    }
    three = [[9, 1, 0], [2, 8, 0], [0, 1, 9]]
    assert doubts(found, {"net": three}, ["a", "b", "c"]) == {"net": []}  # chance is one third
    assert doubts(ONE, {"net": GOOD}, ["absent", "present"]) == {"net": []}


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[1, 19], [0, 20]], "net: calls 98% of all images present, whatever they show."),
        ([[2, 18], [0, 20]], None),
        ([[95, 0], [1, 4]], None),  # most images are called absent, and most are
    ],
)
def test_a_model_that_calls_everything_one_class_is_doubted(counts, said):
    assert doubts(ONE, {"net": counts}, ["absent", "present"])["net"] == ([said] if said else [])


def test_no_number_is_minus_zero():
    assert [number(-0.0001), number(-0.0001, "+z.3f"), number(-0.0006, "+z.3f")] == ["0.000", "+0.000", "−0.001"]


def test_undefined_numbers_are_dashes():
    found = evidence({"net": model(0.75, auroc=NAN), "svm": model(0.5)}, *(
        pair("net", "svm", name, difference=NAN, p_holm=NAN) for name in ("balanced_accuracy", "auroc")
    ))  # fmt: skip
    text = " ".join(headline(found, {}))
    assert "AUROC – (95 % interval – to –)" in text
    assert "(–, 95 % interval – to –, p = – after Holm)" in text
    assert "nan" not in text


def test_a_pair_can_be_asked_for_from_either_side():
    forward, backward = pair_of(TWO, "net", "svm", "auroc"), pair_of(TWO, "svm", "net", "auroc")
    assert (backward["difference"], backward["low"], backward["high"]) == (
        -forward["difference"], -forward["high"], -forward["low"],
    )  # fmt: skip
    with pytest.raises(KeyError, match="net and mean were not compared on auroc"):
        pair_of(TWO, "net", "mean", "auroc")


def cohort(positives=10, negatives=10, patients=40, grouped=True, largest=1):
    truth = np.arange(positives + negatives) < positives
    group = np.array([f"p{max(0, image - largest + 1)}" for image in range(len(truth))], dtype=object)
    return SimpleNamespace(grouped=grouped, clusters=SimpleNamespace(count=patients), is_positive=truth, group=group)


def reasons(given=None, found=ONE, auroc=None, curves=None, gaps=(), built_in=False, doubted=None, greys=None):
    auroc = auroc or {"value": 0.8, "mean": 0.8, "sd": 0.01}
    scores = {title: {"auroc": auroc} for title in found["models"]}
    return warnings(given or cohort(), found, scores, {"net": curves or {}}, gaps, built_in, doubted or {}, greys)


def falling(*losses, column="val/loss"):
    return {"repeat-0/fold-0": pd.DataFrame({"epoch": range(len(losses)), "train/loss": 1.0, column: losses})}


def gap(value):
    return {"choice": "weights of stacking", "metric": "auroc", "honest": 0.5, "naive": 0.5 + value, "gap": value}


def test_nothing_is_told_where_nothing_is_wrong():
    assert reasons() == []


@pytest.mark.parametrize(
    ("words", "quiet", "loud"),
    [
        ("net: no better than chance", {"doubted": {"net": []}}, {"doubted": {"net": ["net: no better than chance"]}}),
        ("built-in synthetic images", {"built_in": False}, {"built_in": True}),
        ("The data set names no patients", {"given": cohort(patients=5)}, {"given": cohort(patients=5, grouped=False)}),
        ("Only 19 patients", {"given": cohort(patients=20)}, {"given": cohort(patients=19)}),
        ("Group p0 has 55% of the images", {"given": cohort(largest=10)}, {"given": cohort(largest=11)}),
        (
            "Half of the images use at most 6% of the range of grey values of their files: values 900 to 5080 were scaled",
            {"greys": Greys(0, 65535, used=0.25)},
            {"greys": Greys(900, 5080, used=0.0625)},
        ),
        ("models saw them with little contrast", {"greys": None}, {"greys": Greys(0, 65535, used=0.24)}),
        ("One class is rare (positives 19%)", {"given": cohort(20, 80)}, {"given": cohort(19, 81)}),
        ("One class is rare (positives 81%)", {"given": cohort(80, 20)}, {"given": cohort(81, 19)}),
        (
            "unsteady over folds (standard deviation of the AUROC 0.051)",
            {"auroc": {"value": 0.8, "mean": 0.8, "sd": 0.05}},
            {"auroc": {"value": 0.8, "mean": 0.8, "sd": 0.051}},
        ),
        (
            "the AUROC over all rows (0.800) is below the mean of the folds (0.825)",
            {"auroc": {"value": 0.8, "mean": 0.8125, "sd": 0.01}},
            {"auroc": {"value": 0.8, "mean": 0.825, "sd": 0.01}},
        ),
        (
            "probabilities deviate by 0.06 on average",
            {"found": evidence({"net": model(0.75, ece=0.05)})},
            {"found": evidence({"net": model(0.75, ece=0.06)})},
        ),
        ("the val loss still fell by 6% in the last epoch", {"curves": falling(2, 1, 0.95)}, {"curves": falling(2, 1, 0.94)}),
        (
            "Choosing the weights of stacking on the reported rows would have claimed 0.625 instead of 0.500",
            {"gaps": [gap(0.005)]},
            {"gaps": [gap(0.02), gap(0.125), gap(0.005)]},
        ),
    ],
)
def test_a_warning_appears_exactly_when_its_number_says_so(words, quiet, loud):
    assert not any(words.split(" (")[0] in line for line in reasons(**quiet))
    assert len([line for line in reasons(**loud) if words in line]) == 1


def test_few_patients_are_no_news_where_there_are_none():
    assert not any("Only" in line for line in reasons(cohort(patients=5, grouped=False)))


def test_the_smallest_p_value_is_that_of_all_swaps():
    # Two models swapped within 5 patients: 32 ways, the two extreme ones are as extreme as what was seen.
    assert any("smallest possible p-value is 0.062." in line for line in reasons(cohort(patients=5)))


def test_of_several_models_the_best_is_flattered_and_the_detectable_difference_is_told():
    assert [line for line in reasons(found=TWO) if "was chosen on the rows" in line and "below 0.250" in line]
    undefined = evidence(
        TWO["models"],
        pair("net", "svm", "balanced_accuracy", detectable=NAN),
        pair("net", "svm", "auroc"),
        pair("net", "other", "balanced_accuracy", detectable=0.125),
    )
    assert [line for line in reasons(found=undefined) if "below 0.125" in line]


def test_undefined_scores_raise_no_warning():
    assert reasons(found=evidence({"net": model(0.75, ece=NAN)}), auroc={"value": NAN, "mean": NAN, "sd": NAN}) == []


def test_each_model_is_warned_about_by_name():
    lines = reasons(found=TWO, auroc={"value": 0.8, "mean": 0.8, "sd": 0.1})
    assert [line.split(":")[0] for line in lines if "unsteady" in line] == ["svm", "net"]


def test_the_fall_is_the_mean_over_folds():
    curves = {"a": falling(4, 3)["repeat-0/fold-0"], "b": falling(4, 4)["repeat-0/fold-0"]}
    assert still_falling(curves) == pytest.approx(1 / 8)


def test_without_val_loss_the_loss_of_fit_rows_is_looked_at():
    assert still_falling(falling(2, 1, column="train/loss")) == pytest.approx(1 / 2)
    assert still_falling(falling(1)) is None
    assert still_falling({}) is None
