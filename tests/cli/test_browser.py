"""The report as a person sees it, in a real browser: on a desk and on a phone, in light and in dark."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; CHROMIUM=FILE names one"),
]
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=VIEWS, ids=[f"{width}-{scheme}" for width, scheme in VIEWS])
def page(request: pytest.FixtureRequest, browser: Any, finished_job: Path) -> Iterator[Any]:
    """The open report; `asked` and `said` hold its requests and what it wrote to the console."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.asked, page.said, page.scheme, page.width = [], [], scheme, width
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto((finished_job / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    yield page
    context.close()


def test_nothing_is_asked_for_but_the_file_itself(page: Any, finished_job: Path) -> None:
    assert [url for url in page.asked if not url.startswith("data:")] == [(finished_job / "report.html").as_uri()]
    assert page.said == []


def test_every_figure_is_seen_and_fits_its_place(page: Any) -> None:
    figures = page.evaluate("""() => [...document.querySelectorAll('svg[data-figure]')].map(svg => {
        const own = svg.getBoundingClientRect(), place = svg.parentElement.getBoundingClientRect();
        return [svg.dataset.figure, own.width, own.height, own.left - place.left, place.right - own.right];
    })""")
    assert {name for name, *_ in figures} >= {
        "intervals-balanced_accuracy", "intervals-auroc", "roc", "pr", "reliability", "decision", "folds-auroc",
        "learning-resnet", "optimism",
    }  # fmt: skip
    for name, width, height, left, right in figures:
        assert width > 300, name
        assert height > 50, name
        assert min(left, right) > -1, name


def test_no_text_of_a_figure_is_cut_off(page: Any) -> None:
    cut = page.evaluate("""() => [...document.querySelectorAll('svg[data-figure] text')].filter(text => {
        const own = text.getBoundingClientRect(), svg = text.closest('svg').getBoundingClientRect();
        return own.left < svg.left - 1 || own.right > svg.right + 1 || own.top < svg.top - 1 || own.bottom > svg.bottom + 1;
    }).map(text => text.textContent)""")
    assert cut == []


def test_text_of_a_figure_can_be_read(page: Any) -> None:
    sizes = page.evaluate("""() => [...document.querySelectorAll('svg[data-figure] text')].map(text =>
        parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)""")
    # The scale of a text turned by 90 degrees stands elsewhere in its matrix.
    assert min(size for size in sizes if size > 0.1) > 9


def test_every_picture_is_loaded(page: Any) -> None:
    widths = page.evaluate("[...document.querySelectorAll('img')].map(img => img.complete && img.naturalWidth)")
    assert all(width > 0 for width in widths)
    assert bool(widths) == ("There are none." not in page.inner_text("main"))


def test_the_page_is_not_wider_than_the_window(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == page.width


def test_tables_wider_than_the_window_can_be_scrolled(page: Any) -> None:
    stuck = page.evaluate("""() => [...document.querySelectorAll('table, pre')].filter(table => {
        if (table.getBoundingClientRect().right <= innerWidth + 1) return false;
        return getComputedStyle(table.parentElement).overflowX !== 'auto';
    }).map(table => table.textContent.slice(0, 40))""")
    assert stuck == []


def luminance(color: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, as WCAG 2 defines it."""
    channels = [int(part) / 255 for part in color.partition("(")[2].rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_its_ground_and_the_ground_follows_the_scheme(page: Any) -> None:
    def color(selector: str, name: str) -> float:
        return luminance(page.eval_on_selector(selector, f"element => getComputedStyle(element).{name}"))

    ground = color("body", "backgroundColor")
    assert (ground < 0.05) == (page.scheme == "dark")
    card = color(".distrust", "backgroundColor")
    texts = [
        ("body", "color", ground),
        (".note", "color", ground),
        (".distrust h2", "color", card),
        ("svg text", "fill", ground),
    ]
    for selector, name, behind in texts:
        dark, light = sorted((color(selector, name), behind))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


def test_lines_of_models_stand_out_from_the_ground(page: Any) -> None:
    ground = luminance(page.eval_on_selector("body", "element => getComputedStyle(element).backgroundColor"))
    dots = page.evaluate("[...document.querySelectorAll('.key i')].map(dot => getComputedStyle(dot).backgroundColor)")
    assert len(set(dots)) == 3
    for dot in dots:
        dark, light = sorted((luminance(dot), ground))
        assert (light + 0.05) / (dark + 0.05) >= 3


def test_every_figure_has_a_name_for_those_who_cannot_see_it(page: Any) -> None:
    count = page.locator("svg[data-figure]").count()
    assert page.get_by_role("img", name="ROC curves").count() == 1
    assert page.locator("svg[data-figure][role=img][aria-label]").count() == count
