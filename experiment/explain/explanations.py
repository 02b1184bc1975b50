"""Heat maps of a finished run: each fold's model on test images, as pictures, and scored if the data know the truth."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from experiment.core.contracts import FoldData, KnowsTruth
from experiment.core.errors import UserError
from experiment.explain.heat_maps import heat_maps, overlay, peaks_inside
from experiment.explain.selection import select
from experiment.report.explained import TABLE
from experiment.run.fitted_model import load_model
from experiment.store.runs import Run

BATCH = 8  # images per heat map call: gradients of an ensemble over eight symmetries take memory
SIDE = 384  # pixels: least side of a picture, so that small images can be looked at


def explain(run: Run, data: FoldData, images: int, seed: int, folder: Path) -> pd.DataFrame:
    """Map up to `images` test images of both classes, wrong predictions first, and write them into `folder`.

    Returns:
        The rows of `select` with ``file`` and ``group`` and, if the data know the truth, for images of the positive class
        ``hit`` (whether the hottest pixel is on a granule) and ``area`` (share of the image that granules cover, the hit rate
        of a random pixel).

    Raises:
        UserError: `images` is not positive.
    """
    if images < 1:
        raise UserError(f"images={images} is not allowed; take 1 or more.")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / TABLE).is_file():  # of an earlier choice of images
        for file in pd.read_csv(folder / TABLE)["file"]:
            (folder / Path(file).name).unlink(missing_ok=True)
    table, samples = select(run.oof, run.samples.classes, run.samples.positive, images, seed), run.samples
    table["group"] = samples.select(table["sample_id"].tolist())["group"].to_numpy() if samples.grouped else ""
    table["file"] = [
        f"{place + 1:03d}-{row['kind'].replace(' ', '-')}-{PurePosixPath(row['sample_id']).stem}.png"
        for place, row in enumerate(table.to_dict("records"))
    ]
    folds, scored = dict(run.folds()), {}
    for fold, rows in table.groupby("fold"):
        model = load_model(folds[str(fold)])
        for start in range(0, len(rows), BATCH):
            batch = rows.iloc[start : start + BATCH]
            heat = heat_maps(model, data.views(batch["sample_id"].tolist()), samples.positive_index, seed)
            for (place, row), one in zip(batch.iterrows(), heat, strict=True):
                _picture(data.picture(row["sample_id"]), one).save(folder / row["file"])
                if isinstance(data, KnowsTruth) and row["label"] == samples.positive:
                    scored[place] = _pointed(data.granule_mask(row["sample_id"]), one)
    if isinstance(data, KnowsTruth):
        table = table.join(pd.DataFrame.from_dict(scored, orient="index", columns=["hit", "area"]))
    table.to_csv(folder / TABLE, index=False)
    return table


def _picture(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """Return an image beside its overlay, upscaled to `SIDE` if they are smaller."""
    side = max(SIDE, *heat.shape)
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    hot = np.asarray(Image.fromarray(heat).resize((side, side), Image.Resampling.BILINEAR))
    return Image.fromarray(overlay(large, hot))


def _pointed(mask: NDArray[np.bool_], heat: NDArray[np.float32]) -> tuple[Any, float]:
    return bool(peaks_inside(heat[None], [mask])[0]), float(mask.mean())
