"""Figures as inline SVG by matplotlib. Colours and fonts are the page's CSS variables, so that they follow light and dark."""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiment.metrics import METRICS

# Stand-ins that no figure uses otherwise; the SVG's text carries them, and they are swapped for the page's variables there.
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

PIXELS = 112  # of the page an inch, so that a figure's text is as large as the page's small print
WIDE = 20  # ratio of losses from which on their axis is logarithmic
WIDTH, HEIGHT = 4.2, 3.4  # inches: half the page, all of a phone

Models = Mapping[str, Mapping[str, Any]]


def color_of(number: int) -> str:
    """The color of the model with this number in the report's order."""
    return MODELS[number % len(MODELS)]


@contextmanager
def _axes(height: float = HEIGHT, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        ax = figure.subplots()
        ax.tick_params(length=0)
        yield figure, ax


def _svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as an inline SVG element that scales with its place and reads `alt` to those who cannot see it."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # several figures on one page must not share ids
    own = re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}.", name)
    svg = re.sub(r'\bid="', f'id="{own}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{own}-", svg)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r'font-family: [^;"]*', "font-family: var(--sans)", svg)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'(?<= width=")[^"]*', f"{figure.get_figwidth() * PIXELS:.0f}", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" data-figure="{own}" ', 1)


def intervals(models: Models, metric: str) -> str:
    """Each model's value and 95 % interval."""
    with _axes(0.8 + 0.36 * len(models)) as (figure, ax):
        for row, found in enumerate(models.values()):
            m = found["metrics"][metric]
            ax.plot([m["low"], m["high"]], [row, row], color=color_of(row), linewidth=3, solid_capstyle="round", alpha=0.55)
            ax.plot([m["value"]], [row], "o", color=color_of(row), markersize=7)
            if np.isfinite(m["value"]):
                ax.annotate(f"{m['value']:.3f}", (m["value"], row), (0, 7), textcoords="offset points", ha="center", size=9)
        _rows(ax, list(models), METRICS[metric])
        return _svg(figure, f"intervals-{metric}", f"{METRICS[metric]} and 95 percent interval of each model")


def _rows(ax: Axes, names: Sequence[str], title: str) -> None:
    """One named row a thing, the first on top."""
    ax.set_yticks(range(len(names)), list(names), color=INK)
    ax.set_ylim(len(names) - 0.45, -0.75)
    ax.set_title(title)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _lines(models: Models, curve: str, ax: Axes) -> None:
    for number, (title, found) in enumerate(models.items()):
        ax.plot(found["curves"][curve]["x"], found["curves"][curve]["y"], color=color_of(number), label=title)


def roc(models: Models) -> str:
    """Receiver operating characteristic of the positive class."""
    with _axes() as (figure, ax):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        _lines(models, "roc", ax)
        ax.set(title="ROC", xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        return _svg(figure, "roc", "ROC curves")


def precision_recall(models: Models, prevalence: float) -> str:
    """Precision against recall of the positive class."""
    with _axes() as (figure, ax):
        ax.axhline(prevalence, color=MUTED, linewidth=1, linestyle=":")
        _lines(models, "pr", ax)
        ax.set(title="Precision and recall", xlabel="sensitivity", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        return _svg(figure, "pr", "Precision-recall curves")


def reliability(models: Models) -> str:
    """Observed share of the positive class against the predicted probability; larger dots hold more images."""
    with _axes() as (figure, ax):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for number, found in enumerate(models.values()):
            c = found["calibration"]
            size = 12 + 120 * np.asarray(c["count"]) / sum(c["count"])
            ax.plot(c["predicted"], c["observed"], color=color_of(number), linewidth=1.2)
            ax.scatter(c["predicted"], c["observed"], s=size, color=color_of(number), alpha=0.8)
        ax.set(title="Reliability", xlabel="predicted", ylabel="observed", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return _svg(figure, "reliability", "Reliability diagram")


def decision(models: Models, prevalence: float) -> str:
    """Net benefit against the probability from which on one would act."""
    with _axes() as (figure, ax):
        everyone = next(iter(models.values()))["curves"]["decision"]
        ax.plot(everyone["x"], everyone["all"], color=MUTED, linewidth=1, linestyle=":")
        ax.axhline(0, color=MUTED, linewidth=1)
        _lines(models, "decision", ax)
        top = max(prevalence, 0.05)
        ax.set(title="Decision curve", xlabel="threshold", ylabel="net benefit", ylim=(-0.3 * top, 1.1 * top), xlim=(0, 1))
        return _svg(figure, "decision", "Decision curves")


def folds(scores: Mapping[str, Sequence[float]], metric: str) -> str:
    """One dot a fold, a bar at their mean."""
    with _axes(0.8 + 0.36 * len(scores)) as (figure, ax):
        for row, values in enumerate(scores.values()):
            ax.plot(values, [row] * len(values), "o", color=color_of(row), markersize=7, alpha=0.7)
            if known := [value for value in values if np.isfinite(value)]:
                ax.plot([np.mean(known)] * 2, [row - 0.25, row + 0.25], color=color_of(row), linewidth=2)
        _rows(ax, list(scores), METRICS[metric])
        return _svg(figure, f"folds-{metric}", f"{METRICS[metric]} in each fold")


def learning(title: str, by_fold: Mapping[str, pd.DataFrame]) -> str:
    """Loss by epoch on fit rows (with augmentation) and on val rows: thin lines are folds, thick ones their mean."""
    with _axes() as (figure, ax):
        for column, color, label in (("train/loss", MODELS[0], "fit"), ("val/loss", MODELS[1], "val")):
            known = [frame[["epoch", column]].dropna() for frame in by_fold.values() if column in frame]
            for frame in known:
                ax.plot(frame["epoch"] + 1, frame[column], color=color, linewidth=0.7, alpha=0.45)
            if known:
                mean = pd.concat(known).groupby("epoch")[column].mean()
                ax.plot(mean.index + 1, mean, color=color, marker="o", markersize=4, label=label)
        ax.set(title=title, xlabel="epoch", ylabel="loss")
        low, high = ax.dataLim.intervaly
        if low > 0 and high > WIDE * low:
            ax.set_yscale("log")  # or one wild first epoch would flatten all others
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        return _svg(figure, f"learning-{title}", f"Loss of {title} by epoch")


def optimism(gaps: Sequence[Mapping[str, Any]]) -> str:
    """For each choice what it gives honestly, and what it would have claimed on the rows it was made on."""
    with _axes(0.8 + 0.46 * len(gaps)) as (figure, ax):
        for row, gap in enumerate(gaps):
            ax.plot([gap["honest"], gap["naive"]], [row, row], color=MUTED, linewidth=1.2)
            ax.plot([gap["honest"]], [row], "o", color=MODELS[0], markersize=7, label=None if row else "honest")
            ax.plot([gap["naive"]], [row], "D", color=MODELS[1], markersize=6, label=None if row else "same rows")
            name = f"{gap['choice']} ({METRICS[gap['metric']]})"  # above its row, because a phone has no room beside it
            ax.text(0.015, row - 0.3, name, transform=ax.get_yaxis_transform(), fontsize=9)
        _rows(ax, [""] * len(gaps), "Claimed")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderpad=0, handletextpad=0.1, columnspacing=1)
        return _svg(figure, "optimism", "Honest and naive results of each choice")
