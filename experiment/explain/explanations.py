"""Heat maps of a finished run: each fold's model on its test images, as pictures, and scored if the data know the truth."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from experiment.core.contracts import FoldData, KnowsTruth
from experiment.core.errors import UserError
from experiment.core.folds import Splits
from experiment.core.tables import Split
from experiment.explain.heat_maps import heat_maps, overlay, peaks_inside
from experiment.run.fitted_model import load_model
from experiment.store.runs import Run

BATCH = 8  # images per heat map call: gradients of an ensemble over eight symmetries take memory


def pointing(table: pd.DataFrame) -> str | None:
    """Return the share of hits in the table of `explain` in words; None if the data do not know the truth."""
    if "hit" not in table:
        return None
    hits, area = table["hit"].mean(), table["area"].mean()
    return f"hottest pixel on a granule: {hits:.0%} of {len(table)} images; a random pixel: {area:.1%}"


def explain(run: Run, data: FoldData, images: int, seed: int, folder: Path) -> pd.DataFrame:
    """Map up to `images` test images of the positive class, evenly over the folds, and write them into `folder`.

    Returns:
        One row per image: ``sample_id``, ``fold``, ``file`` and, if the data know the truth, ``hit`` (whether the hottest
        pixel is on a granule) and ``area`` (share of the image that granules cover, the hit rate of a random pixel).

    Raises:
        UserError: `images` is not positive.
    """
    if images < 1:
        raise UserError(f"images={images} is not allowed; take 1 or more.")
    folder.mkdir(parents=True, exist_ok=True)
    splits = list(Splits(run.splits))
    rows: list[dict[str, object]] = []
    for number, (split, (_, fold)) in enumerate(zip(splits, run.folds(), strict=True)):
        share = images // len(splits) + (number < images % len(splits))
        chosen = _choose(run, split, share, seed)
        model = load_model(fold)
        for start in range(0, len(chosen), BATCH):
            ids = chosen[start : start + BATCH]
            heat = heat_maps(model, data.views(ids), run.samples.positive_index, seed)
            rows += [_row(data, split, sample, one, folder) for sample, one in zip(ids, heat, strict=True)]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "explanations.csv", index=False)
    return table


def _choose(run: Run, split: Split, count: int, seed: int) -> list[str]:
    """Choose up to `count` test images of the positive class at random."""
    rows = run.samples.select(split.test)
    ids = rows.loc[rows["target"] == run.samples.positive_index, "sample_id"].to_numpy()
    drawn = np.random.default_rng([seed, split.repeat, split.fold]).permutation(len(ids))[:count]
    return [str(ids[position]) for position in sorted(drawn)]


def _row(data: FoldData, split: Split, sample: str, heat: NDArray[np.float32], folder: Path) -> dict[str, object]:
    """Write one picture; return its row of the table."""
    file = f"{split.name.replace('/', '-')}-{sample.replace('/', '-')}.png"
    size = heat.shape[::-1]
    image = np.asarray(Image.fromarray(data.picture(sample)).resize(size, Image.Resampling.BILINEAR))
    Image.fromarray(overlay(image, heat)).save(folder / file)
    row: dict[str, object] = {"sample_id": sample, "fold": split.name, "file": file}
    if isinstance(data, KnowsTruth):
        mask = data.granule_mask(sample)
        row |= {"hit": bool(peaks_inside(heat[None], [mask])[0]), "area": float(mask.mean())}
    return row
