"""Figures of a sweep: history of the best trial, settings of good trials, importance of settings."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiment.report.svg import MODELS, MUTED, RULE, WIDTH, axes, svg
from experiment.sweep.ledger import Ledger
from experiment.sweep.settings import Setting, brief, labels, varied

BEST, GIVEN_UP, FAILED = MODELS[0], MODELS[4], MODELS[1]
SHARE = 0.1  # share of best trials, drawn in colour
PAGE = 8.4  # inches: the width of the page
COLUMN = 1.3  # inches between two settings
ROOM = 0.07  # least distance of two labels, as a share of the axis


def history(ledger: Ledger) -> str:
    """Draw the first objective of each trial in order, and the best so far."""
    trials, objective = ledger.trials(), ledger.objective[0]
    with axes() as (figure, ax):
        scored = [(number, trial) for number, trial in enumerate(trials, 1) if trial.values]
        for state, marker, color in (("complete", "o", BEST), ("raced out", "x", GIVEN_UP), ("running", "+", MUTED)):
            of_state = [(number, trial.values[0]) for number, trial in scored if trial.state == state]
            if of_state:
                ax.plot(*zip(*of_state, strict=True), marker, color=color, markersize=5, label=state, alpha=0.8)
        complete = [(number, trial.values[0]) for number, trial in scored if trial.state == "complete"]
        if complete:
            numbers, values = zip(*complete, strict=True)
            best = (np.maximum if objective.larger_is_better else np.minimum).accumulate(values)
            ax.step([*numbers, len(trials)], [*best, best[-1]], where="post", color=BEST, linewidth=1.4, label="best so far")
        ax.set(xlabel="trial", ylabel=objective.name, title="History")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(ncols=2, loc="outside lower left")
        return svg(figure, "history", f"{objective.name} of each trial, and the best so far")


def parallel(ledger: Ledger) -> str:
    """Draw each complete trial as a line over its settings and its objective; the best tenth in colour, the best one thick."""
    ranked, objective = ledger.best_first(), ledger.objective[0]
    score = Setting(objective.name, tuple(f"{trial.values[0]:.4g}" for trial in ranked))
    columns = [*varied(ranked), score]
    bright = max(1, round(SHARE * len(ranked)))
    with axes(width=min(PAGE, max(WIDTH, COLUMN * len(columns)))) as (figure, ax):
        places = np.stack([column.places for column in columns], axis=1)
        for row in reversed(range(len(ranked))):  # the best one last, on top
            color, alpha, width = (BEST, 0.9, 1.4) if row < bright else (MUTED, 0.4, 1.0)
            ax.plot(range(len(columns)), places[row], color=color, alpha=alpha, linewidth=width if row else 3.0)
        for place, column in enumerate(columns):
            ax.axvline(place, color=RULE, linewidth=1)
            for height, text in _marks(column):
                ax.annotate(text, (place, height), (4, 3), textcoords="offset points", size=9, va="bottom")
        ax.set_xticks(range(len(columns)), labels([column.key for column in columns]).values())
        ax.set(yticks=[], xlim=(-0.2, len(columns) - 0.35), title="Settings: the best in colour")
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.grid(visible=False)
        return svg(figure, "parallel", "Parallel coordinates of settings and objective")


def importance(shares: Mapping[str, float]) -> str:
    """Draw one bar per setting."""
    with axes(0.8 + 0.36 * len(shares)) as (figure, ax):
        ax.barh(range(len(shares)), list(shares.values()), color=BEST, height=0.5)
        ax.set_yticks(range(len(shares)), labels(list(shares)).values())
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(title="Importance", xlabel="share of the variance explained")
        return svg(figure, "importance", "Share of the objective's variance that each setting explains")


def _marks(column: Setting) -> list[tuple[float, str]]:
    """Return heights and texts on a setting's axis: its choices, or the ends of a range and values with room between."""
    marks: list[tuple[float, str]] = []
    ends_first = sorted(zip(column.places, column.texts, strict=True), key=lambda mark: (0 < mark[0] < 1, mark[0]))
    for place, text in ends_first:
        if all(abs(place - other) > ROOM for other, _ in marks):
            marks.append((float(place), brief(text)))
    return marks
