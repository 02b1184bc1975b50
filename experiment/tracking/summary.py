"""Summary of a complete run for trackers, and its numbers under the names that all trackers share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.cost import Cost
from experiment.metrics.evidence import seen_from
from experiment.tracking.trackers import Tracked

Scores = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Summary:
    """Results of a complete run for a tracker."""

    tracked: Tracked  # the run
    folds: int  # number of folds
    scores: Scores  # value, low, high, mean and sd by metric (content of ``metrics.json``)
    # calibration, operating points and curves of the model (one of `experiment.metrics.evidence.evidence`)
    evidence: Mapping[str, Any]
    pairs: Sequence[Mapping[str, Any]]  # comparisons with the job's other models
    oof: pd.DataFrame  # out-of-fold table
    cost: Cost  # see `experiment.core.cost.cost`
    objective: Mapping[str, float]  # objectives of a sweep by name (see `experiment.metrics.objective`)
    asked: bool  # whether this is the main model of the command, not one that it is built on
    files: Sequence[Path]  # splits, table and report of the run
    picture: Callable[[str], NDArray[np.uint8]]  # reads an image by sample id; raises if it cannot


def numbers(summary: Summary) -> dict[str, float]:
    """Return all numbers of a run by their names in every tracker."""
    out = {f"cost/{name}": value for name, value in summary.cost.items() if not isinstance(value, dict)}
    out |= {
        f"cost/{kind}/{name}": value for kind in ("stages", "images_per_second") for name, value in summary.cost[kind].items()
    }
    out |= progress(summary.objective, summary.folds)
    for name, s in summary.scores.items():
        out |= {f"oof/{name}": s["value"], f"oof/{name}/low": s["low"], f"oof/{name}/high": s["high"]}
        out |= {f"folds/{name}/mean": s["mean"], f"folds/{name}/sd": s["sd"]}
    for kind in ("calibration", "operating"):
        out |= {f"{kind}/{name}": value for name, value in summary.evidence[kind].items() if isinstance(value, float)}
    for pair in summary.pairs:
        seen = seen_from(pair, summary.tracked.title)
        where = f"against/{seen['second']}/{seen['metric']}"
        out |= {f"{where}/difference": seen["difference"], f"{where}/p_holm": seen["p_holm"]}
    return out


def progress(objective: Mapping[str, float], folds: int) -> dict[str, float]:
    """Return the objectives of a run, and the number of folds that they are means over."""
    # a W&B sweep optimises `objective`, so its name does not depend on the config
    first = next(iter(objective.values()))
    return {"objective": first, **{f"objective/{name}": v for name, v in objective.items()}, "finished_folds": folds}
