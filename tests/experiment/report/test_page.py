import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from finished_runs import finished_run
from markdown_it import MarkdownIt
from PIL import Image

from experiment.metrics import evidence
from experiment.metrics.scores import METRICS
from experiment.report.checklist import checklist
from experiment.report.content import gather
from experiment.report.page import write

CLASSES = ('<b>&"x', "a|b's")
PREFIX = "<i>&amp;\"|'"  # of every sample's id
NAMES = ("net|<u>", 'svm "&"')
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes and text of a page; every element must be closed by its own tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def cells(self):
        return [text.strip() for text in self.text if text.strip()]


@pytest.fixture(scope="module")
def content(tmp_path_factory, make_samples):
    """Two networks and their ensemble on 36 images of 12 patients; classes, samples and models have markup in their names."""
    folder = tmp_path_factory.mktemp("runs")
    plain = make_samples([(2, 1), (1, 2)] * 6)
    ids = [f"{PREFIX}{sample}" for sample in plain.rows["sample_id"]]
    samples = dataclasses.replace(plain, rows=plain.rows.assign(sample_id=ids), classes=CLASSES, positive=CLASSES[0])
    losses = {"train/loss": [1.0, 0.5], "val/loss": [1.0, 0.75]}
    one = finished_run(folder / "one-0", samples, skill=0.0, name=NAMES[0], losses=losses)
    two = finished_run(folder / "two-0", samples, skill=0.0, seed=1, name=NAMES[1], losses=losses)
    both = finished_run(folder / "both-0", samples, skill=0.0, seed=2, inputs={NAMES[0]: one, NAMES[1]: two}, name="both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "RESAMPLES", 50)
        return gather(both.with_inputs())


def picture(sample):
    return np.full((600, 400), 128, np.uint8)


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    page = write(content, tmp_path_factory.mktemp("report") / "deep" / "out", picture)
    assert page.name == "report.html"
    return page.parent


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text())


def test_three_files_are_written_and_nothing_beside(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["evidence.json", "report.html", "report.md", "thumbnails.json"]


def test_no_name_becomes_markup(page, content):
    tags = [tag for tag, _ in page.elements]
    assert tags.count("u") == 0
    assert tags.count("b") == len(content.hardest)  # the label of each
    assert tags.count("i") == 2 * 3  # the colour of each model, in two keys


def test_names_are_read_as_they_are(page, content):
    cells = page.cells()
    assert {*CLASSES, *NAMES} <= set(cells)
    shown = {attributes["alt"] for tag, attributes in page.elements if tag == "img"}
    assert shown == {image["sample_id"] for image in content.hardest}
    assert all(alt.startswith(PREFIX) for alt in shown)


def test_every_figure_is_well_formed_and_no_id_stands_twice(folder, page, content):
    text = (folder / "report.html").read_text()
    svgs = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    # Intervals and folds of two metrics, four curves, learning of two networks, optimism.
    assert len(svgs) == 2 + 2 + 4 + 2 + 1
    for svg in svgs:
        ElementTree.fromstring(svg)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    figures = [attributes["data-figure"] for _, attributes in page.elements if "data-figure" in attributes]
    assert len(figures) == len(set(figures)) == len(svgs)


def test_nothing_is_loaded_from_elsewhere(folder, page):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not re.findall(r"@import|url\((?!#)", (folder / "report.html").read_text())


def test_pictures_are_small_and_keep_their_shape(page):
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert sources
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            assert image.size == (213, 320)
            assert image.getpixel((100, 100)) == pytest.approx(128, abs=2)


def test_every_metric_of_every_model_stands_with_its_interval(page, content):
    cells = page.cells()
    start = cells.index("Models side by side")
    for title, found in content.evidence["models"].items():
        at = cells.index(title, start)
        expected = [cell for name in METRICS for cell in interval(found["metrics"][name])]
        assert cells[at + 1 : at + 2 + len(expected)] == [*expected, f"{found['calibration']['ece']:.3f}"]


def interval(m):
    return [text.replace("-", "−") for text in (f"{m['value']:.3f}", f"{m['low']:.3f}–{m['high']:.3f}")]


def test_the_headline_and_all_warnings_are_on_the_page(page, content):
    assert {*content.headline, *content.warnings} <= set(page.cells())
    assert len(content.warnings) >= 2


def test_counts_of_decisions_are_those_of_the_tables(content):
    for title, run in content.runs.items():
        decided = run.oof[[f"p/{name}" for name in CLASSES]].idxmax(axis=1).str.removeprefix("p/")
        expected = [[int(((run.oof["target"] == truth) & (decided == said)).sum()) for said in CLASSES] for truth in CLASSES]
        assert content.confusion[title] == expected


def test_without_images_the_numbers_are_told_all_the_same(content, tmp_path):
    text = write(content, tmp_path, None).read_text()
    assert "<img" not in text
    assert "the images could not be opened" in text
    assert set(content.headline) <= set(Page(text).cells())


def test_an_image_that_is_gone_is_told(content, tmp_path):
    def gone(sample):
        raise FileNotFoundError("no such file")

    assert "Some pictures are left out: no such file." in write(content, tmp_path, gone).read_text()


def test_markdown_renders_as_lists_and_tables(folder, content):
    rendered = MarkdownIt("commonmark").enable("table").render((folder / "report.md").read_text())
    read = Page(rendered)
    tags = [tag for tag, _ in read.elements]
    assert tags.count("table") == 5  # models, pairs, optimism, two checklists
    assert tags.count("li") == len(content.warnings) + len(content.runs) + 1  # how each was made, and the seed
    assert set(content.warnings) <= set(read.cells())
    rows = [len(content.runs), len(content.evidence["pairs"]), len(content.gaps)]
    assert rendered.count("<tr>") == sum(rows) + len(checklist(content)) + 5
    assert [line for line in read.cells() if line.startswith(("percentile", "BCa", "p: "))]  # captions are no cells
    assert not re.search(r"<td>(BCa|percentile|p: )", rendered)


def tables(text):
    """Rows of all Markdown tables, each a list of its cells."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_markdown_tables_keep_their_columns_whatever_the_names(folder, content):
    text = (folder / "report.md").read_text()
    blocks = [tables(block) for block in re.split(r"\n\s*\n", text) if block.startswith("|")]
    assert len(blocks) == 5  # models, pairs, optimism, two checklists
    for block in blocks:
        assert len({len(row) for row in block}) == 1
        assert set(block[1]) == {"---"}
    assert [row[0] for row in blocks[0][2:]] == ["net|&lt;u>", NAMES[1], "both"]
    assert len(blocks[1][2:]) == len(content.evidence["pairs"])
    assert len(blocks[2][2:]) == len(content.gaps)


def test_markdown_has_no_html(folder):
    assert not re.search(r"<[a-zA-Z/!?]", (folder / "report.md").read_text())


def test_evidence_can_be_read_back(folder, content):
    stored = json.loads((folder / "evidence.json").read_text())
    assert stored["headline"] == content.headline
    assert stored["warnings"] == content.warnings
    assert stored["optimism"] == content.gaps
    assert stored["models"][NAMES[0]]["metrics"] == content.evidence["models"][NAMES[0]]["metrics"]


def test_an_undefined_interval_is_a_dash_and_null(content, tmp_path):
    nan = float("nan")
    undefined = {"value": 0.4321, "low": nan, "high": nan}
    both = content.evidence["models"]["both"]
    changed = {**content.evidence, "models": {
        **content.evidence["models"], "both": {**both, "metrics": {**both["metrics"], "mcc": undefined}},
    }}  # fmt: skip
    page = write(dataclasses.replace(content, numbers=dataclasses.replace(content.numbers, evidence=changed)), tmp_path, None)
    assert "0.432<small>–––</small>" in page.read_text()
    assert "0.432 (–––)" in (tmp_path / "report.md").read_text()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    stored = json.loads((tmp_path / "evidence.json").read_text(), parse_constant=refuse)
    assert stored["models"]["both"]["metrics"]["mcc"] == {"value": 0.4321, "low": None, "high": None}


def test_ungrouped_images_are_not_called_patients(tmp_path, make_samples, monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 50)
    run = finished_run(tmp_path / "net-0", make_samples([(2, 2)] * 6, grouped=False), val=0)
    text = write(gather([run]), tmp_path / "out", None).read_text()
    assert "2 folds by" not in text
    assert "3 folds by image" in text
    assert "never saw it." in text
    assert "of 24 images" in text
    assert "Is the difference real?" not in text
    assert "What choosing on the reported rows" not in text
