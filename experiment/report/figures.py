"""Figures of the report."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiment.metrics.scores import METRICS
from experiment.report.svg import INK, MODELS, MUTED, axes, color_of, svg

LABEL = 24  # characters of a model's name in one line, so that the figure keeps its width
WIDE = 20  # ratio of the largest to the smallest loss, above which the axis is logarithmic

Models = Mapping[str, Mapping[str, Any]]


def intervals(models: Models, metric: str) -> str:
    """Draw the value and 95 % interval of each model."""
    with axes(0.8 + 0.36 * len(models)) as (figure, ax):
        for row, model in enumerate(models.values()):
            m = model["metrics"][metric]
            ax.plot([m["low"], m["high"]], [row, row], color=color_of(row), linewidth=3, solid_capstyle="round", alpha=0.55)
            ax.plot([m["value"]], [row], "o", color=color_of(row), markersize=7)
            if np.isfinite(m["value"]):
                ax.annotate(f"{m['value']:.3f}", (m["value"], row), (0, 7), textcoords="offset points", ha="center", size=9)
        _rows(ax, list(models), METRICS[metric])
        return svg(figure, f"intervals-{metric}", f"{METRICS[metric]} and 95 percent interval of each model")


def _rows(ax: Axes, names: Sequence[str], title: str) -> None:
    """Set up one named row per model or choice, the first on top."""
    ax.set_yticks(range(len(names)), [fill(name, LABEL) for name in names], color=INK)
    ax.set_ylim(len(names) - 0.45, -0.75)
    ax.set_title(title)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _lines(models: Models, curve: str, ax: Axes) -> None:
    for number, (title, model) in enumerate(models.items()):
        ax.plot(model["curves"][curve]["x"], model["curves"][curve]["y"], color=color_of(number), label=title)


def roc(models: Models) -> str:
    """Draw the receiver operating characteristic of the positive class."""
    with axes() as (figure, ax):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        _lines(models, "roc", ax)
        ax.set(title="ROC", xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        return svg(figure, "roc", "ROC curves")


def precision_recall(models: Models, prevalence: float) -> str:
    """Draw precision against recall of the positive class."""
    with axes() as (figure, ax):
        ax.axhline(prevalence, color=MUTED, linewidth=1, linestyle=":")
        _lines(models, "pr", ax)
        ax.set(title="Precision and recall", xlabel="sensitivity", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        return svg(figure, "pr", "Precision-recall curves")


def reliability(models: Models) -> str:
    """Draw the observed share of the positive class against the predicted probability; larger dots are more images."""
    with axes() as (figure, ax):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for number, model in enumerate(models.values()):
            c = model["calibration"]
            size = 12 + 120 * np.asarray(c["count"]) / sum(c["count"])
            ax.plot(c["predicted"], c["observed"], color=color_of(number), linewidth=1.2)
            ax.scatter(c["predicted"], c["observed"], s=size, color=color_of(number), alpha=0.8)
        ax.set(title="Reliability", xlabel="predicted", ylabel="observed", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return svg(figure, "reliability", "Reliability diagram")


def decision(models: Models, prevalence: float) -> str:
    """Draw the net benefit against the threshold probability."""
    with axes() as (figure, ax):
        treat_all = next(iter(models.values()))["curves"]["decision"]
        ax.plot(treat_all["x"], treat_all["all"], color=MUTED, linewidth=1, linestyle=":")
        ax.axhline(0, color=MUTED, linewidth=1)
        _lines(models, "decision", ax)
        top = max(prevalence, 0.05)
        ax.set(title="Decision curve", xlabel="threshold", ylabel="net benefit", ylim=(-0.3 * top, 1.1 * top), xlim=(0, 1))
        return svg(figure, "decision", "Decision curves")


def folds(scores: Mapping[str, Sequence[float]], metric: str) -> str:
    """Draw one dot per fold and a bar at their mean."""
    with axes(0.8 + 0.36 * len(scores)) as (figure, ax):
        for row, values in enumerate(scores.values()):
            ax.plot(values, [row] * len(values), "o", color=color_of(row), markersize=7, alpha=0.7)
            if finite := [value for value in values if np.isfinite(value)]:
                ax.plot([np.mean(finite)] * 2, [row - 0.25, row + 0.25], color=color_of(row), linewidth=2)
        _rows(ax, list(scores), METRICS[metric])
        return svg(figure, f"folds-{metric}", f"{METRICS[metric]} in each fold")


def learning(title: str, by_fold: Mapping[str, pd.DataFrame]) -> str:
    """Draw the loss by epoch on fit rows (augmented) and val rows: thin lines are folds, thick ones their mean."""
    with axes() as (figure, ax):
        for column, color, label in (("train/loss", MODELS[0], "fit"), ("val/loss", MODELS[1], "val")):
            losses = [frame[["epoch", column]].dropna() for frame in by_fold.values() if column in frame]
            for frame in losses:
                ax.plot(frame["epoch"] + 1, frame[column], color=color, linewidth=0.7, alpha=0.45)
            if losses:
                mean = pd.concat(losses).groupby("epoch")[column].mean()
                ax.plot(mean.index + 1, mean, color=color, marker="o", markersize=4, label=label)
        ax.set(title=title, xlabel="epoch", ylabel="loss")
        low, high = ax.dataLim.intervaly
        if low > 0 and high > WIDE * low:
            ax.set_yscale("log")  # otherwise one high first epoch would flatten all others
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        return svg(figure, f"learning-{title}", f"Loss of {title} by epoch")


def optimism(gaps: Sequence[Mapping[str, Any]]) -> str:
    """Draw the honest result of each choice, and the result on the rows that the choice was made on."""
    with axes(0.8 + 0.46 * len(gaps)) as (figure, ax):
        for row, gap in enumerate(gaps):
            ax.plot([gap["honest"], gap["naive"]], [row, row], color=MUTED, linewidth=1.2)
            ax.plot([gap["honest"]], [row], "o", color=MODELS[0], markersize=7, label=None if row else "honest")
            ax.plot([gap["naive"]], [row], "D", color=MODELS[1], markersize=6, label=None if row else "same rows")
            name = f"{gap['choice']} ({METRICS[gap['metric']]})"  # above its row, because a phone has no room to the left
            ax.text(0.015, row - 0.3, name, transform=ax.get_yaxis_transform(), fontsize=9)
        _rows(ax, [""] * len(gaps), "Claimed")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderpad=0, handletextpad=0.1, columnspacing=1)
        return svg(figure, "optimism", "Honest and naive results of each choice")
