import re

import numpy as np
import pandas as pd
import pytest
from finished_runs import finished_run
from PIL import Image

from experiment.core.errors import UserError
from experiment.metrics import evidence
from experiment.report.explained import Explained, pointing
from experiment.report.requests import build_report


@pytest.fixture
def run(tmp_path, make_samples):
    return finished_run(tmp_path / "net-0", make_samples([(2, 1), (1, 2)] * 4))


@pytest.fixture
def folder(run):
    """Two heat maps, of a missed image and a false alarm, as explain.py leaves them."""
    place = run.path / "explanations"
    place.mkdir()
    rows = [
        ("007<b>", "false negative", "present", "absent", 0.125, "g01", "001.png", True, 0.25),
        ("s002", "false positive", "absent", "present", 0.75, "g02", "002.png", None, None),
    ]
    columns = ["sample_id", "kind", "label", "decided", "p", "group", "file", "hit", "area"]
    pd.DataFrame(rows, columns=columns).to_csv(place / "explanations.csv", index=False)
    for row in rows:
        Image.fromarray(np.full((384, 768, 3), 90, np.uint8)).save(place / row[6])
    return place


def test_the_page_has_each_picture_with_its_caption_the_missed_first(run, folder):
    text = Explained.of(run).write(folder).read_text()
    assert text.count("data:image/jpeg;base64,") == 2
    words = re.sub(r"<[^>]*>", " ", text).split()
    said = " ".join(words)
    missed, false_alarm = (said.index(title) for title in ("Missed: present", "False alarms: called present"))
    assert missed < said.index("present , called absent ; probability of present 0.12") < false_alarm
    assert said.index("absent , called present ; probability of present 0.75") > false_alarm
    assert "007&lt;b&gt;" in text  # a name is no markup, and no number
    assert "the most in this image" in said
    assert "Hottest pixel on a granule: 100% of 1 missed; a random pixel: 25.0%." in said
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_on_request_they_are_a_section_of_the_report(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 50)
    text = build_report([run], tmp_path / "out", heat_maps=True).read_text()
    assert "What net-0 looks at" in text
    assert text.count("data:image/jpeg;base64,") == 2


def test_a_run_without_them_says_how_to_make_them(run, tmp_path):
    with pytest.raises(UserError, match=r"has no heat maps yet; python explain\.py run="):
        build_report([run], tmp_path / "out", heat_maps=True)


def test_hits_in_words():
    kinds = ["true positive"] * 4 + ["false negative"] * 2 + ["false positive"]
    table = pd.DataFrame({"kind": kinds, "hit": [True, True, True, False, True, False, None], "area": [0.02] * 6 + [None]})
    assert pointing(table) == "hottest pixel on a granule: 75% of 4 found, 50% of 2 missed; a random pixel: 2.0%"
    assert pointing(table.tail(1)) is None
    assert pointing(table[["kind"]]) is None
