"""Out-of-fold tables: one row per image and repeat, predicted by the model of the fold that tests the image."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.errors import listed
from experiment.core.tables import FinishedFold, SampleTable, Split, probability_columns


def out_of_fold(folds: Sequence[tuple[Split, FinishedFold]], samples: SampleTable) -> pd.DataFrame:
    """Return the table of these folds: ``sample_id``, ``repeat``, ``fold``, ``target`` (class name) and ``p/<class>``.

    Raises:
        ValueError: `check_oof` refuses the table.
    """
    tables = [finished.predictions("test").assign(repeat=split.repeat, fold=split.fold) for split, finished in folds]
    names = dict(zip(samples.sample_id, np.array(samples.classes, dtype=object)[samples.target], strict=True))
    table = pd.concat(tables, ignore_index=True)
    table["target"] = table["sample_id"].map(names)
    columns = ["sample_id", "repeat", "fold", "target", *probability_columns(samples.classes)]
    table = table[columns].sort_values(["repeat", "fold", "sample_id"], ignore_index=True)
    check_oof(table, [split for split, _ in folds], samples.classes)
    return table


def check_oof(table: pd.DataFrame, splits: Sequence[Split], classes: Sequence[str]) -> None:
    """Refuse a table that does not hold exactly the test rows of these folds with valid probabilities.

    Raises:
        ValueError: missing rows, duplicates, rows of another fold, NaN, or probabilities that do not sum to one.
    """
    expected = {(split.repeat, split.fold, sample) for split in splits for sample in split.test}
    rows = list(zip(table["repeat"], table["fold"], table["sample_id"], strict=True))
    if len(rows) != len(set(rows)):
        raise ValueError(f"out-of-fold table: duplicate rows: {listed({row for row in rows if rows.count(row) > 1})}")
    if missing := expected - set(rows):
        raise ValueError(f"out-of-fold table: no prediction for (repeat, fold, sample) {listed(sorted(missing))}")
    if strangers := set(rows) - expected:
        raise ValueError(f"out-of-fold table: not test rows of their fold: {listed(sorted(strangers))}")
    p = probabilities(table, classes)
    wrong = ~np.isfinite(p).all(axis=1) | (p < 0).any(axis=1) | (np.abs(p.sum(axis=1) - 1) > 1e-5)
    if wrong.any():
        raise ValueError(f"out-of-fold table: not probabilities that sum to one: {listed(table['sample_id'][wrong])}")
    if table["target"].isna().any() or not set(table["target"]) <= set(classes):
        raise ValueError(f"out-of-fold table: targets {sorted(set(map(str, table['target'])))} are not of {list(classes)}")


def probabilities(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the probability columns in the order of `classes`, (N, K)."""
    return table[probability_columns(classes)].to_numpy(dtype=np.float64)
