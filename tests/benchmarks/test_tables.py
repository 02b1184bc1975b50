"""Ratios, spreads and pairs, from made-up measurements."""

import pytest

from benchmarks.settings import ALL, BARE, FROZEN, FROZEN_MANY, PLAIN, PLAIN_SVM, WHOLE, Job, chosen
from benchmarks.tables import Measurement, features_table, growth_table, report, whole_table


def runs(*seconds: float, **further: float) -> list[Measurement]:
    return [Measurement(s, 2 * s, 1.0 + number / 4, **further) for number, s in enumerate(seconds)]


def cells(table: str) -> dict[str, list[str]]:
    """Rows by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_ratios_are_of_runs_made_in_the_same_turn() -> None:
    # by hand: 100/50, 400/100, 90/30 = 2, 4, 3; medians alone would give 100/50 = 2
    table = cells(whole_table({PLAIN: runs(100, 400, 90), "default": runs(50, 100, 30)}))
    assert table["default"][1] == "3.0 (2.0–4.0)"
    assert table[PLAIN][1] == "1.0 (1.0–1.0)"


def test_the_spread_of_seconds_the_processor_and_the_memory() -> None:
    row = cells(whole_table({"default": runs(3, 1, 2.25)}))["default"]
    assert row[0] == "1.0 / 2.2 / 3.0"
    assert row[2:4] == ["4", "1.50"]


def test_without_the_reference_there_is_no_ratio_and_without_predictions_no_score() -> None:
    row = cells(whole_table({"default": runs(3, 1)}))["default"]
    assert (row[1], row[4]) == ("–", "–")


def test_scores_are_medians() -> None:
    measured = [Measurement(1, 1, 1, balanced_accuracy=b, auroc=0.9) for b in (0.8, 0.99, 0.81)]
    assert cells(whole_table({"default": measured}))["default"][4] == "0.810 / 0.900"


def test_a_turn_that_was_cut_short_pairs_what_is_there() -> None:
    assert cells(whole_table({PLAIN: runs(10, 20), "default": runs(5)}))["default"][1] == "2.0 (2.0–2.0)"


def test_features_are_compared_by_their_stage_and_with_the_bare_rate() -> None:
    measured = {
        PLAIN_SVM: runs(60, features=50.0),  # five passes over 100 images: 10 a second
        FROZEN: runs(20, features=4.0),  # one: 25 a second
        BARE: runs(9, features=2.0),  # 50 a second
    }
    table = cells(features_table(measured, images=100))
    assert table[PLAIN_SVM][0:4] == ["50.0 / 50.0 / 50.0", "1.0 (1.0–1.0)", "10", "0.20 (0.20–0.20)"]
    assert table[FROZEN][0:4] == ["4.0 / 4.0 / 4.0", "12.5 (12.5–12.5)", "25", "0.50 (0.50–0.50)"]
    assert table[BARE][2:] == ["50", "1.00 (1.00–1.00)", "–"]


def test_growth_is_seconds_of_many_images_over_those_of_the_set() -> None:
    table = cells(growth_table({FROZEN: runs(10, 20), FROZEN_MANY: runs(70, 120)}))
    assert table[FROZEN_MANY] == ["70.0 / 95.0 / 120.0", "6.5 (6.0–7.0)", "1.25"]


def test_the_page_holds_only_what_was_measured() -> None:
    page = report({"default": runs(1)}, images=10)
    assert [line.split(" | ")[0] for line in page.splitlines()] == ["| setting", "| ---", "| default"]


@pytest.mark.parametrize("name", [name for name, setting in ALL.items() if isinstance(setting, Job) and setting.follows])
def test_what_follows_another_brings_it_along_and_comes_after_it(name: str) -> None:
    assert chosen([name]) == ["default", name]


def test_all_settings_run_unless_some_are_named_and_each_is_in_a_table() -> None:
    assert chosen(None) == list(ALL)
    page = report({name: runs(1, features=1.0) for name in ALL}, images=1)
    assert all(f"| {name} |" in page for name in ALL)
    assert PLAIN in WHOLE
