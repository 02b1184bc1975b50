"""A complete run in W&B's words: numbers by name, line plots, and a table with pictures."""

import logging
from typing import Any

from experiment.core.tables import probability_columns
from experiment.metrics.evidence import seen_from
from experiment.tracking.trackers import Summary

log = logging.getLogger(__name__)


def numbers(shown: Summary) -> dict[str, float]:
    """Everything of a run that is a number, by the name it has in W&B."""
    out = {f"cost/{name}": value for name, value in shown.cost.items() if not isinstance(value, dict)}
    out |= {
        f"cost/{kind}/{name}": value for kind in ("stages", "images_per_second") for name, value in shown.cost[kind].items()
    }
    # what a sweep of W&B optimises has one name, whatever it is
    out |= {"objective": next(iter(shown.objective.values()))} | {f"objective/{n}": v for n, v in shown.objective.items()}
    for name, s in shown.scores.items():
        out |= {f"oof/{name}": s["value"], f"oof/{name}/low": s["low"], f"oof/{name}/high": s["high"]}
        out |= {f"folds/{name}/mean": s["mean"], f"folds/{name}/sd": s["sd"]}
    for kind in ("calibration", "operating"):
        out |= {f"{kind}/{name}": value for name, value in shown.evidence[kind].items() if isinstance(value, float)}
    for pair in shown.pairs:
        seen = seen_from(pair, shown.config["title"])
        where = f"against/{seen['second']}/{seen['metric']}"
        out |= {f"{where}/difference": seen["difference"], f"{where}/p_holm": seen["p_holm"]}
    return out


def curves(shown: Summary) -> dict[str, Any]:
    """ROC, precision and recall, reliability and decision curve, as W&B's own line plots."""
    import wandb

    lines = {name: (c["x"], c["y"]) for name, c in shown.evidence["curves"].items()}
    lines["reliability"] = (shown.evidence["calibration"]["predicted"], shown.evidence["calibration"]["observed"])
    axes = {
        "roc": ("1 - specificity", "sensitivity"), "pr": ("sensitivity", "precision"),
        "decision": ("threshold", "net benefit"), "reliability": ("predicted", "observed"),
    }  # fmt: skip
    plots = {}
    for name, (x, y) in lines.items():
        points = wandb.Table(columns=list(axes[name]), data=[list(point) for point in zip(x, y, strict=True)])
        plots[f"curves/{name}"] = wandb.plot.line(points, *axes[name], title=name)
    return plots


def table(shown: Summary, pictures: int) -> Any:
    """The out-of-fold table, the most wrong rows first, with the image in the first ones."""
    import wandb

    oof = shown.oof
    classes = [name.removeprefix("p/") for name in map(str, oof) if name.startswith("p/")]
    p = oof[probability_columns(classes)].to_numpy()
    own = p[range(len(oof)), [classes.index(target) for target in oof["target"]]]
    ordered = oof.assign(decided=[classes[k] for k in p.argmax(axis=1)], p_of_target=own).sort_values(
        "p_of_target", kind="stable"
    )
    rows = wandb.Table(columns=["image", *ordered.columns])
    for number, row in enumerate(ordered.to_dict("records")):
        image = None
        if number < pictures:
            try:
                image = wandb.Image(shown.picture(row["sample_id"]))
            except (OSError, ValueError, KeyError) as error:
                log.warning("%s is not shown in W&B: %s", row["sample_id"], error)
        rows.add_data(image, *row.values())
    return rows
