"""Which test images are explained: wrong predictions first, and right ones of both classes to compare with."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiment.core.tables import probability_columns

KINDS = ("false negative", "false positive", "wrong among the others", "true positive", "true negative")
WRONG = KINDS[:3]


def select(oof: pd.DataFrame, classes: Sequence[str], positive: str, images: int, seed: int) -> pd.DataFrame:
    """Choose up to `images` rows of an out-of-fold table, equally many of each kind as far as there are.

    Wrong predictions are the most certain ones, right predictions are drawn at random. An image that was predicted in several
    repeats is taken from one of them.

    Returns:
        One row per image, by kind in the order of `KINDS`: ``sample_id``, ``fold``, ``kind``, ``label``, ``decided`` and
        ``p``, the probability of the positive class.
    """
    p = oof[probability_columns(classes)].to_numpy()
    decided = np.asarray(classes, dtype=object)[p.argmax(axis=1)]
    is_positive, called_positive = oof["target"].to_numpy() == positive, decided == positive
    kind = np.select(
        [is_positive & ~called_positive, ~is_positive & called_positive, decided != oof["target"], is_positive],
        KINDS[:4], KINDS[4],
    )  # fmt: skip
    folds = "repeat-" + oof["repeat"].astype(str) + "/fold-" + oof["fold"].astype(str)
    table = pd.DataFrame(
        {
            "sample_id": oof["sample_id"], "fold": folds, "kind": kind, "label": oof["target"], "decided": decided,
            "p": p[:, list(classes).index(positive)], "certainty": p.max(axis=1),
        }
    )  # fmt: skip
    table = table.iloc[np.random.default_rng(seed).permutation(len(table))].drop_duplicates("sample_id")
    wrong = table[table["kind"].isin(WRONG)].sort_values("certainty", ascending=False, kind="stable")
    table = pd.concat([wrong, table[~table["kind"].isin(WRONG)]])
    table["rank"] = table.groupby("kind").cumcount()
    table["order"] = table["kind"].map(KINDS.index)
    shared_out = table.sort_values(["rank", "order"]).head(images).sort_values(["order", "rank"])
    return shared_out.drop(columns=["certainty", "rank", "order"]).reset_index(drop=True)
