"""What the members of an ensemble predicted, and how much choosing between them on the reported rows would have flattered."""

from typing import Any

import pandas as pd
import torch

from experiment.core.tables import probability_columns
from experiment.metrics.optimism import FoldTables, gaps
from experiment.store.runs import Run


def optimism(run: Run) -> list[dict[str, float | str]]:
    """The optimism gaps of an ensemble's run; none for other models."""
    return gaps(*_members(run))


def _members(run: Run) -> tuple[list[FoldTables], int]:
    """Val and test predictions of an ensemble's members in each fold; nothing for other models."""
    samples = run.samples
    positive = samples.positive_index
    members = run.inputs()
    if len(members) < 2:
        return [], positive
    target = pd.Series(samples.target, index=samples.sample_id)
    columns = probability_columns(samples.classes)

    def stacked(fold: str, part: Any) -> tuple[torch.Tensor, torch.Tensor]:
        tables = [dict(member.folds())[fold].predictions(part).set_index("sample_id") for member in members.values()]
        ids = tables[0].index
        p = torch.stack([torch.tensor(table.loc[ids, columns].to_numpy()) for table in tables])
        return p, torch.tensor(target.loc[ids].to_numpy())

    return [FoldTables(*stacked(fold, "val"), *stacked(fold, "test")) for fold in run.markers], positive
