from dataclasses import replace

import pytest

from experiment.core.errors import UserError
from experiment.sweep.ledger import Ledger, Trial, ledgers


def ledger(root, name="sweep", question="0123456789abcdef", named=("val/auroc",)):
    return Ledger.of(root, name, question, list(named))


def trial(run, value, state="complete", began=0.0):
    return Trial(
        run, {"model.lr": "0.1"}, state, {"repeat-0/fold-0": [value - 0.1], "repeat-0/fold-1": [value + 0.1]}, began=began
    )


def test_what_is_written_is_read_back_in_the_order_in_which_trials_began(tmp_path):
    book = ledger(tmp_path)
    trials = [trial("b", 0.8, began=1.0), trial("a", 0.9, began=2.0), trial("c", 0.7, "failed", began=3.0)]
    for one in reversed(trials):
        book.write(one)
    assert Ledger.at(book.path).trials() == trials
    assert [one.values for one in trials] == [pytest.approx([0.8]), pytest.approx([0.9]), pytest.approx([0.7])]


def test_a_later_state_of_a_trial_takes_the_place_of_the_earlier(tmp_path):
    book = ledger(tmp_path)
    book.write(trial("a", 0.5, "running"))
    book.write(trial("a", 0.6))
    assert [one.state for one in book.trials()] == ["complete"]


def test_the_best_complete_trial_comes_first_whatever_best_means(tmp_path):
    for named, expected in (("val/auroc", ["good", "bad"]), ("val/brier", ["bad", "good"])):
        book = (
            ledger(tmp_path, named, named=(named,))
            if "/" not in named
            else ledger(tmp_path, named.replace("/", "-"), named=(named,))
        )
        for one in (trial("bad", 0.2), trial("good", 0.9), trial("given up", 0.99, "raced out")):
            book.write(one)
        assert [one.run for one in book.best_first()] == expected


@pytest.mark.parametrize("other", [{"question": "another"}, {"named": ("val/brier",)}, {"named": ("val/auroc", "seconds")}])
def test_trials_of_another_question_do_not_go_under_the_same_name(tmp_path, other):
    ledger(tmp_path)
    with pytest.raises(UserError, match=r"sweep\.name=sweep .* take another name"):
        ledger(tmp_path, **other)


def test_sweeps_are_found_by_their_folders_and_say_on_what_images(tmp_path):
    one, other = Ledger.of(tmp_path, "one", "question", ["seconds"], "48 images; 5 folds"), ledger(tmp_path, "other")
    assert [book.path for book in ledgers(tmp_path)] == [one.path, other.path]
    assert Ledger.at(one.path).data == one.data == "48 images; 5 folds"


def test_trials_that_are_as_good_as_the_best_tie_and_the_earlier_comes_first(tmp_path):
    book = ledger(tmp_path)
    for began, (run, value) in enumerate([("worse", 0.7), ("first", 0.1 + 0.7), ("second", 0.8)]):
        book.write(trial(run, value, began=float(began)))
    assert [one.run for one in book.ties()] == ["first", "second"]
    assert book.best_first()[0].run == "first"
    book.write(trial("better", 0.9))
    assert book.ties() == []


def test_the_test_value_is_a_mean_over_folds(tmp_path):
    assert replace(trial("a", 0.5), test={"repeat-0/fold-0": 0.25, "repeat-0/fold-1": 0.5}).test_value == 0.375
    assert trial("a", 0.5).test_value is None


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(UserError, match="is no sweep"):
        Ledger.at(tmp_path)


def test_a_trial_without_folds_has_no_values_yet():
    assert replace(trial("a", 0.5), folds={}).values == []


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".."])
def test_a_name_that_leads_out_of_the_folder_of_sweeps_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"^sweep\.name=.* is not allowed; it names a folder"):
        Ledger.of(tmp_path, name, "question", ["val/auroc"])
    assert list(tmp_path.iterdir()) == []
