import math

import pytest
from finished_runs import finished_run
from sklearn.metrics import roc_auc_score

from experiment.core.errors import UserError
from experiment.metrics.objective import Objective, named_values, objectives, of_run


@pytest.fixture
def run(tmp_path, make_samples):
    samples = make_samples([(2, 1), (1, 2)] * 4)
    network = finished_run(tmp_path / "network", samples)
    return finished_run(tmp_path / "run", samples, inputs={"network": network})


def test_it_is_the_mean_over_folds_of_the_metric_on_the_part(run):
    target = run.samples.rows.set_index("sample_id")["target"]
    for part in ("val", "test"):
        by_fold = []
        for _, fold in run.folds():
            table = fold.predictions(part)
            truth = target[table["sample_id"]] == run.samples.positive_index
            by_fold.append(roc_auc_score(truth, table[f"p/{run.samples.positive}"]))
        assert of_run(f"{part}/auroc", run.path) == pytest.approx(sum(by_fold) / len(by_fold))


def test_seconds_count_what_a_model_is_built_on(run):
    assert of_run("seconds", run.path) == 2.0 + 2.0


def test_several_are_a_list_in_their_order(run):
    both = of_run(["seconds", "val/auroc"], run.path)
    assert both == [4.0, of_run("val/auroc", run.path)]
    assert list(named_values(["seconds", "val/auroc"], run.path)) == ["seconds", "val/auroc"]


def test_without_val_rows_there_is_none(tmp_path, make_samples):
    run = finished_run(tmp_path / "run", make_samples([(2, 1), (1, 2)] * 4), val=0)
    assert of_run("val/auroc", run.path) is None
    assert math.isnan(named_values("val/auroc", run.path)["val/auroc"])


@pytest.mark.parametrize("name", ["auroc", "val/", "fit/auroc", "val/roc", ""])
def test_an_unknown_one_says_what_is_allowed(name):
    with pytest.raises(UserError, match=r"val/balanced_accuracy.*seconds"):
        Objective(name)


def test_none_at_all_is_refused():
    with pytest.raises(UserError, match="nothing to optimise"):
        objectives([])


@pytest.mark.parametrize(
    ("name", "larger"), [("val/auroc", True), ("test/mcc", True), ("val/brier", False), ("seconds", False)]
)
def test_errors_and_time_are_to_be_small(name, larger):
    assert Objective(name).larger_is_better == larger


def test_what_is_chosen_on_val_rows_is_unseen_on_test_rows():
    assert Objective("val/auroc").unseen == Objective("test/auroc")
    assert Objective("test/auroc").unseen is None
    assert Objective("seconds").unseen is None
