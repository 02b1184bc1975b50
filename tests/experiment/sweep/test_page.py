import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from experiment.metrics.objective import Objective
from experiment.sweep import figures as pictures
from experiment.sweep import page as report
from experiment.sweep.ledger import Ledger, Trial
from experiment.sweep.summary import print_sweep


@pytest.fixture
def ledger(tmp_path):
    book = Ledger.of(tmp_path, "try", "question", ["val/auroc", "seconds"])
    for number in range(12):
        state = "raced out" if number % 4 == 3 else "failed" if number == 6 else "complete"
        folds = {f"repeat-0/fold-{f}": [0.5 + 0.04 * number, 2.0] for f in range(1 if state == "raced out" else 3)}
        choices = {
            "model.lr": f"{10.0 ** (number - 6)}",
            "model.taps": ["[layer3]", "[layer4]"][number % 2],
            "model": "resnet",
        }
        note = "ValueError: <b>" if state == "failed" else ""
        book.write(
            Trial(f"resnet-{number}", choices, state, {} if state == "failed" else folds, note, began=number, seconds=5.0)
        )
    return book


def test_the_first_sentence_names_the_best_setting_and_the_second_what_was_tried(ledger):
    first, second = report.headline(ledger)
    assert first == "Best by val/auroc: model.lr=1e+04, model.taps=[layer3] (val/auroc 0.9, seconds 2)."
    assert second == "12 settings tried: 8 complete, 3 raced out, 1 failed."


def test_the_page_holds_its_pictures_and_nothing_that_others_typed_is_markup(ledger):
    text = report.write(ledger).read_text()
    assert all(f'data-figure="{name}"' in text for name in ("history", "parallel", "importance"))
    assert "ValueError: &lt;b&gt;" in text
    assert "<b>" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_a_sweep_in_which_nothing_is_complete_is_reported_all_the_same(tmp_path):
    book = Ledger.of(tmp_path, "begun", "question", ["val/auroc"])
    assert "0 settings tried" in report.write(book).read_text()
    book.write(Trial("a", {}, "running"))
    assert "No setting is complete yet." in report.write(book).read_text()


def test_choosing_on_test_rows_is_warned_of(tmp_path):
    for named, warned in (("test/auroc", True), ("val/auroc", False)):
        book = Ledger.of(tmp_path, named.replace("/", "-"), "question", [named])
        assert ("was computed on test rows" in report.write(book).read_text()) == warned


def test_the_best_line_never_falls_and_pictures_are_well_formed(ledger):
    drawn = [pictures.history(ledger.trials(), ledger.objective[0]), pictures.parallel(ledger.trials(), ledger.objective[0])]
    drawn.append(pictures.importance({"model.lr": 0.75, "taps": 0.25}))
    for svg in drawn:
        assert ElementTree.fromstring(svg).get("role") == "img"
    assert "history" in pictures.history(ledger.trials(), Objective("val/brier"))


def test_the_terminal_shows_the_best_settings_as_they_were_typed(ledger):
    said = io.StringIO()
    print_sweep(ledger, Console(file=said, width=160))
    rows = [line for line in said.getvalue().splitlines() if "resnet-" in line]
    assert [row.split()[-1] for row in rows] == [f"resnet-{number}" for number in (10, 9, 8, 5, 4, 2, 1, 0)]
    assert "[layer3]" in rows[0]
