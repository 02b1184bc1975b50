import io
import re
from dataclasses import replace
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
    """Twelve trials, of which the numbers 10 and 11 are as good as each other and better than all others."""
    book = Ledger.of(tmp_path, "try", "question", ["val/auroc", "seconds"], "pictures; 48 images")
    for number in range(12):
        state = "raced out" if number % 4 == 3 else "failed" if number == 6 else "complete"
        names = [f"repeat-0/fold-{f}" for f in range(0 if state == "failed" else 1 if state == "raced out" else 3)]
        choices = {
            "model.lr": f"{10.0 ** (number - 6)}",
            "model.taps": ["[layer3]", "[layer4]"][number % 2],
            "model": "resnet",
            "logger": ["none", "csv"][number % 2],
        }
        book.write(
            Trial(
                f"resnet-{number}", choices, state, {name: [0.5 + 0.04 * min(number, 9), 2.0] for name in names},
                "ValueError: <b>" if state == "failed" else "", began=number, seconds=5.0,
                test=dict.fromkeys(names, 0.45 + 0.04 * number), command="python train.py -m model.lr=<b>",
            )
        )  # fmt: skip
    return book


def test_the_first_sentence_names_the_best_setting_and_the_others_say_how_sure_that_is(ledger):
    assert report.headline(ledger) == [
        "Best by val/auroc: trial 10, model.lr=1e+03, model.taps=[layer4] (val/auroc 0.86, seconds 2).",
        "Trials 10, 11 tie; the first of them is named.",
        "On its test rows, which took no part in choosing: 0.81.",
        "12 settings tried: 8 complete, 3 raced out, 1 failed.",
    ]


def test_table_and_picture_show_the_trial_that_the_headline_names(ledger):
    text = report.write(ledger).read_text()
    (best,) = re.findall(r'<tr class="sure"><td class="n">(\d+)</td>', text)
    assert best == "10"
    # of the parallel coordinates one line is thick: that of trial 10, from its place on the first axis to the top of the last
    svg = ElementTree.fromstring(pictures.parallel(ledger))
    thick = [
        path.get("d") for path in svg.iter("{http://www.w3.org/2000/svg}path") if "stroke-width: 3" in path.get("style", "")
    ]
    assert len(thick) == 1
    heights = [float(y) for _, y in re.findall(r"[ML] (\S+) (\S+)", thick[0])]
    top = min(heights)
    # of the best values the earlier trial's: the learning rate below the largest one, layer4, and the top of the objective
    assert heights[0] > top
    assert heights[2:] == [top]


def test_the_page_says_on_what_images_by_which_command_and_leads_to_the_best_report(ledger):
    (ledger.path.parents[1] / "resnet-9").mkdir()
    assert "report.html" not in report.write(ledger).read_text()
    (ledger.path.parents[1] / "resnet-9" / "report.html").touch()
    text = report.write(ledger).read_text()
    assert 'href="../../resnet-9/report.html"' in text
    assert "pictures; 48 images." in text
    assert "<pre>python train.py -m model.lr=&lt;b&gt;</pre>" in text
    assert text.count("test/auroc (no part in choosing)") == 1


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
    drawn = [pictures.history(ledger), pictures.parallel(ledger)]
    drawn.append(pictures.importance({"model.lr": 0.75, "taps": 0.25}))
    for svg in drawn:
        assert ElementTree.fromstring(svg).get("role") == "img"
    assert "val/brier" in pictures.history(replace(ledger, objective=(Objective("val/brier"),)))


def test_the_terminal_shows_the_best_settings_as_they_were_typed(ledger):
    said = io.StringIO()
    print_sweep(ledger, Console(file=said, width=120))
    rows = [line.split() for line in said.getvalue().splitlines() if "resnet-" in line]
    assert [row[-1] for row in rows] == [f"resnet-{number}" for number in (9, 10, 8, 5, 4, 2, 1, 0)]
    assert rows[0] == ["10", "lr=1e+03", "taps=[layer4]", "0.8600", "2.0000", "0.8100", "5", "s", "resnet-9"]


def test_the_table_of_many_settings_cuts_none_at_120_columns(tmp_path):
    book = Ledger.of(tmp_path, "many", "question", ["val/balanced_accuracy"])
    keys = [f"model.network.a_setting_of_a_long_name_{number}" for number in range(8)]
    for number in range(1, 4):
        choices = dict.fromkeys(keys, f"0.{number}")
        book.write(Trial(f"resnet_svm-{number:012}", choices, "complete", {"fold": [0.5]}, test={"fold": 0.5}))
    said = io.StringIO()
    print_sweep(book, Console(file=said, width=120))
    words = said.getvalue().split()
    assert all(words.count(f"{key.rsplit('.')[-1]}=0.{number}") == 1 for key in keys for number in range(1, 4))
    assert "…" not in said.getvalue()
