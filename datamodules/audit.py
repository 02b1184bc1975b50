"""Audit of a data set before anything is trained on it."""

from dataclasses import replace

import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from experiment.core.errors import UserError, listed, not_allowed
from experiment.core.tables import SampleTable

ON_DUPLICATE = ("error", "tie")


def audit(samples: SampleTable, on_duplicate: str = "error") -> SampleTable:
    """Refuse samples that cannot give an honest result; merge groups that share an image.

    Rows with the same pixels in two groups would leak from fit to test; under two labels one of them is wrong.
    ``on_duplicate='tie'`` accepts them: merged groups cannot cross folds.

    Raises:
        UserError: a row occurs twice, there are fewer than two classes, or (unless tied) duplicates contradict each other.
    """
    if on_duplicate not in ON_DUPLICATE:
        raise not_allowed("data.on_duplicate", on_duplicate, ON_DUPLICATE)
    rows = samples.rows
    if rows.empty:
        raise UserError("the data set has no images; check data.root and the labels file.")
    twice = rows.loc[rows["sample_id"].duplicated(), "sample_id"]
    if len(twice):
        raise UserError(f"listed twice: {listed(twice)}. Keep one row per image.")
    present = sorted({samples.classes[index] for index in samples.target})
    if len(present) < 2:
        raise UserError(f"all {len(rows)} images are of the class {present[0]!r}; at least two classes are needed.")
    same = rows[rows["digest"].duplicated(keep=False)].groupby("digest")
    contradictions = [
        pair for _, pair in same if pair["target"].nunique() > 1 or (samples.grouped and pair["group"].nunique() > 1)
    ]
    if contradictions and on_duplicate == "error":
        pair = contradictions[0]
        what = "labels" if pair["target"].nunique() > 1 else "groups"
        values = {samples.classes[t] for t in pair["target"]} if what == "labels" else set(pair["group"])
        raise UserError(
            f"the same image under two {what} ({listed(sorted(values))}): {listed(pair['sample_id'])}"
            + (f", and {len(contradictions) - 1} more such sets" if len(contradictions) > 1 else "")
            + ". Correct the labels, or put such images into one group with data.on_duplicate=tie."
        )
    return _tied(samples)


def _tied(samples: SampleTable) -> SampleTable:
    """Merge groups that share an image under the name of the first; without groups, merge the copies of an image."""
    group, groups = pd.factorize(samples.rows["group"], sort=True)
    image, images = pd.factorize(samples.rows["digest"])
    nodes = len(groups) + len(images)
    edges = coo_array(([True] * len(group), (group, len(groups) + image)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    name = pd.Series(groups).groupby(component[: len(groups)]).min()
    return replace(samples, rows=samples.rows.assign(group=name[component[group]].to_numpy(dtype=object)))
