"""Content of a W&B run besides its numbers: line plots, and a table with pictures."""

import logging
from typing import Any

from experiment.core.tables import probability_columns
from experiment.tracking.summary import Summary

log = logging.getLogger(__name__)


def curves(summary: Summary) -> dict[str, Any]:
    """Return ROC, precision-recall, reliability and decision curve as W&B line plots."""
    import wandb

    lines = {name: (c["x"], c["y"]) for name, c in summary.evidence["curves"].items()}
    lines["reliability"] = (summary.evidence["calibration"]["predicted"], summary.evidence["calibration"]["observed"])
    axes = {
        "roc": ("1 - specificity", "sensitivity"), "pr": ("sensitivity", "precision"),
        "decision": ("threshold", "net benefit"), "reliability": ("predicted", "observed"),
    }  # fmt: skip
    plots = {}
    for name, (x, y) in lines.items():
        points = wandb.Table(columns=list(axes[name]), data=[list(point) for point in zip(x, y, strict=True)])
        plots[f"curves/{name}"] = wandb.plot.line(points, *axes[name], title=name)
    return plots


def table(summary: Summary, pictures: int) -> Any:
    """Return the out-of-fold table, the most wrong rows first, with images in the first `pictures` rows."""
    import wandb

    oof = summary.oof
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
                image = wandb.Image(summary.picture(row["sample_id"]))
            except (OSError, ValueError, KeyError) as error:
                log.warning("%s is not shown in W&B: %s", row["sample_id"], error)
        rows.add_data(image, *row.values())
    return rows
