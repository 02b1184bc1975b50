import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from experiment.report import figures
from experiment.report.svg import MODELS, PIXELS, VARIABLES, color_of

NAMES = ["resnet", '<b>&"x', "it's $x^2$ a_b", "a b", "a_b", "a%b", "ünïcode−"]
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def model(value=0.7, low=0.6, high=0.8):
    line = {"x": [0.0, 0.5, 1.0], "y": [0.0, 0.75, 1.0]}
    return {
        "metrics": {"auroc": {"value": value, "low": low, "high": high}},
        "calibration": {"predicted": [0.25, 0.75], "observed": [0.125, 0.875], "count": [3, 5]},
        "curves": {"roc": line, "pr": line, "decision": {**line, "all": [0.5, 0.0, -1.0]}},
    }


def curves():
    return {fold: pd.DataFrame({"epoch": [0, 1], "train/loss": [1.0, 0.5], "val/loss": [1.0, 0.75]}) for fold in "ab"}


def drawn(names):
    """Every figure of a page, by the kind it is."""
    models = {name: model() for name in names}
    gaps = [{"choice": name, "metric": "auroc", "honest": 0.5, "naive": 0.625, "gap": 0.125} for name in names]
    return {
        "intervals": figures.intervals(models, "auroc"),
        "roc": figures.roc(models),
        "pr": figures.precision_recall(models, 0.25),
        "reliability": figures.reliability(models),
        "decision": figures.decision(models, 0.25),
        "folds": figures.folds({name: [0.5, 0.75, 0.625] for name in names}, "auroc"),
        **{f"learning-{name}": figures.learning(name, curves()) for name in names},
        "optimism": figures.optimism(gaps),
    }


@pytest.fixture(scope="module")
def page():
    return drawn(NAMES)


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_figure_is_well_formed_and_named(page):
    for svg in page.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert re.fullmatch(r"[\w.-]+", root.get("data-figure"), flags=re.ASCII)


def test_names_are_shown_as_they_are(page):
    for kind in ("intervals", "folds"):
        assert set(NAMES) <= set(texts(page[kind]))
    assert {f"{name} (AUROC)" for name in NAMES} <= set(texts(page["optimism"]))
    for name in NAMES:
        svg = page[f"learning-{name}"]
        assert name in texts(svg)
        assert ElementTree.fromstring(svg).get("aria-label") == f"Loss of {name} by epoch"


def test_no_two_elements_of_the_page_share_an_id(page):
    ids = [element.get("id") for svg in page.values() for element in ElementTree.fromstring(svg).iter() if element.get("id")]
    assert len(ids) > 500
    assert len(set(ids)) == len(ids)


def test_what_a_figure_points_to_is_its_own(page):
    for svg in page.values():
        root = ElementTree.fromstring(svg)
        ids = {element.get("id") for element in root.iter()}
        used = [element.get(HREF).removeprefix("#") for element in root.iter() if element.get(HREF)]
        used += re.findall(r"url\(#([^)]*)\)", svg)
        assert used
        assert set(used) <= ids


def test_colours_and_fonts_are_the_pages(page):
    for svg in page.values():
        assert not any(stand_in in svg for stand_in in VARIABLES)
        colors = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg))
        assert {color for color in colors if color not in ("none",) and not color.startswith("var(--")} == set()
        assert set(re.findall(r"font-family: ([^;\"]+)", svg)) == {"var(--sans)"}
        assert "font: " not in svg


def test_each_model_has_its_colour_in_every_figure(page):
    ten = drawn([f"model {number}" for number in range(10)])
    for kind in ("intervals", "roc", "pr", "reliability", "decision", "folds"):
        assert {f"var(--m{number})" for number in range(10)} <= set(re.findall(r"var\(--m\d\)", ten[kind]))
    assert color_of(11) == MODELS[1]


def test_an_svg_scales_with_its_place(page):
    for svg in page.values():
        root = ElementTree.fromstring(svg)
        _, _, width, _ = map(float, root.get("viewBox").split())
        assert root.get("height") is None
        assert float(root.get("width")) == pytest.approx(width / 72 * PIXELS, abs=0.5)


def test_the_same_numbers_give_the_same_text():
    assert drawn(["a"]) == drawn(["a"])


def test_values_stand_beside_their_dots():
    svg = figures.intervals({"a": model(0.712), "b": model(0.25)}, "auroc")
    assert {"0.712", "0.250"} <= set(texts(svg))


@pytest.mark.filterwarnings("error")
def test_undefined_numbers_leave_gaps_and_no_warnings():
    svg = figures.intervals({"a": model(0.7, np.nan, np.nan), "b": model(np.nan, np.nan, np.nan)}, "auroc")
    assert "0.700" in texts(svg)
    assert "nan" not in texts(svg)
    svg = figures.folds({"a": [0.5, np.nan, 0.7], "b": [np.nan, np.nan]}, "auroc")
    assert {"a", "b"} <= set(texts(svg))


@pytest.mark.filterwarnings("error")
def test_curves_without_val_rows_show_the_fit_loss_alone():
    svg = figures.learning("a", {"fold": pd.DataFrame({"epoch": [0, 1], "train/loss": [1.0, 0.5]})})
    assert "fit" in texts(svg)
    assert "val" not in texts(svg)
