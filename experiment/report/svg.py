"""Inline SVG figures by matplotlib, with the page's colours and fonts, so that they follow light and dark mode."""

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholder colours that no figure uses otherwise: `svg` replaces them in the SVG's text by the page's variables.
INK, MUTED, RULE = "#010a01", "#010a02", "#010a03"
MODELS = [f"#020b0{number}" for number in range(10)]
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"} | {
    color: f"var(--m{number})" for number, color in enumerate(MODELS)
}
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "em-granules", "font.family": "sans-serif", "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": RULE, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.8, "figure.constrained_layout.use": True, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False, "text.parse_math": False,
}  # fmt: skip

PIXELS = 112  # of the page per inch, so that a figure's text is as large as the page's small print
WIDTH, HEIGHT = 4.2, 3.4  # inches: half the page, or the width of a phone


def color_of(number: int) -> str:
    """Return the colour of the model with this number in the report's order."""
    return MODELS[number % len(MODELS)]


@contextmanager
def axes(height: float = HEIGHT, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """Yield a new figure of this size in inches, and its axes, in the report's style."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        ax = figure.subplots()
        ax.tick_params(length=0)
        yield figure, ax


def svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as an inline SVG element that scales with its container; screen readers read `alt`."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        if layout := figure.get_layout_engine():  # otherwise savefig draws everything twice to lay it out
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    content = content[content.index("<svg") :]
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    # several figures on one page must not share ids
    own = re.sub(r"[^A-Za-z0-9_-]", lambda match: f".{ord(match[0]):x}.", name)
    content = re.sub(r'\bid="', f'id="{own}-', content)
    content = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{own}-", content)
    for placeholder, variable in VARIABLES.items():
        content = content.replace(placeholder, variable)
    content = re.sub(r'font-family: [^;"]*', "font-family: var(--sans)", content)
    content = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", content, count=1)
    content = re.sub(r'(?<= width=")[^"]*', f"{figure.get_figwidth() * PIXELS:.0f}", content, count=1)
    return content.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" data-figure="{own}" ', 1)
