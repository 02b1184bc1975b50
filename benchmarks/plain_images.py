"""Images of the plain scripts: a labels file, and a Dataset that decodes and resizes at each access."""

import sys
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 16


def read_labels(data: str) -> pd.DataFrame:
    """Read ``labels.csv`` in `data`: path, group, and target (1 for the last label in alphabetical order)."""
    rows = pd.read_csv(Path(data) / "labels.csv", dtype=str)
    labels = sorted(set(rows["label"]))
    if len(labels) != 2:
        sys.exit(f"{data}: {len(labels)} classes; this script separates two.")
    target = (rows["label"] == labels[1]).astype(int)
    return rows.assign(path=[str(Path(data) / image) for image in rows["image"]], target=target)


class Images(Dataset[tuple[Tensor, int]]):
    """Normalised float32 images of a table with the columns path and target; augmented by the symmetries of the square."""

    def __init__(self, rows: pd.DataFrame, size: int, augmented: bool) -> None:
        self.paths, self.targets = rows["path"].tolist(), rows["target"].tolist()
        turns = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.Lambda(_quarter_turns)] if augmented else []
        to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        self.transform = v2.Compose([v2.Resize((size, size)), v2.ToImage(), *turns, *to_float])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.targets[index]


def _quarter_turns(image: Tensor) -> Tensor:
    return torch.rot90(image, int(torch.randint(4, ())), (-2, -1))


def loader(rows: pd.DataFrame, size: int, workers: int, train: bool) -> DataLoader[tuple[Tensor, int]]:
    """Return batches of (images, targets): shuffled and augmented for training, else in order."""
    return DataLoader(
        Images(rows, size, augmented=train), BATCH, shuffle=train, drop_last=train and len(rows) > BATCH,
        num_workers=workers, persistent_workers=train and workers > 0,
    )  # fmt: skip
