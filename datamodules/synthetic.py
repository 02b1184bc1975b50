"""Data module of built-in images: synthetic electron micrographs of glomerular capillary walls, with masks of granules."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules import tem
from datamodules.kfold import KFoldDataModule
from datamodules.rows import Row
from datamodules.tem import draw_patient, render
from experiment.core.errors import UserError
from experiment.core.identity import file_digest

LABELS = ("absent", "present")


class SyntheticDataModule(KFoldDataModule):
    """Renal biopsies of synthetic patients; about half of each patient's images have electron-dense granules.

    The same arguments give the same pixels on every machine and in any order.

    Args:
        images: number of images.
        patients: number of patients.
        difficulty: from 0 (large dark granules, few distractors, similar patients) to 1.
        seed: seed of the drawing, independent of the seed of the experiment.
        image_size: side of the square images, in pixels.
        positive: class that sensitivity and F1 refer to.
        settings: see `KFoldDataModule`.
    """

    def __init__(
        self,
        images: int = 240,
        patients: int = 30,
        difficulty: float = 0.3,
        seed: int = 0,
        image_size: int = 96,
        positive: str | None = "present",
        **settings: Any,
    ) -> None:
        super().__init__(image_size, positive=positive, **settings)
        if not 2 <= patients <= images // 2:
            raise UserError(f"data.patients={patients} is not allowed; data.images={images} allow 2 to {images // 2}.")
        if not 0 <= difficulty <= 1:
            raise UserError(f"data.difficulty={difficulty} is not allowed; take 0 to 1.")
        self.count, self.patients, self.difficulty, self.drawing_seed = images, patients, difficulty, seed

    @cached_property
    def _catalogue(self) -> dict[str, tuple[int, int]]:
        """Patient and number of each sample among the patient's images."""
        places = (divmod(number, self.patients) for number in range(self.count))
        return {f"patient-{patient:03d}/{nth:03d}": (patient, nth) for nth, patient in places}

    def rows(self) -> Sequence[Row]:
        """Return one row per image; even images of even patients, and odd images of odd patients, have granules."""
        return [
            Row(sample, LABELS[(patient + nth + 1) % 2], group=f"patient-{patient:03d}")
            for sample, (patient, nth) in sorted(self._catalogue.items())
        ]

    def read(self, sample_id: str) -> NDArray[np.uint8]:
        """Draw one image, (image_size, image_size)."""
        return self._render(sample_id)[0]

    def source(self, sample_ids: Sequence[str]) -> Mapping[str, Any]:
        """Return the settings and the digests of the code that draw the images."""
        settings = {"patients": self.patients, "difficulty": self.difficulty, "seed": self.drawing_seed}
        drawing = [file_digest(file) for file in sorted(Path(tem.__file__).parent.glob("*.py"))]
        return {**settings, "size": self.image_size, "drawing": drawing}

    def granule_mask(self, sample_id: str) -> NDArray[np.bool_]:
        """Return the mask of granules, (image_size, image_size)."""
        return self._render(sample_id)[1]

    def _render(self, sample_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        patient, nth = self._catalogue[sample_id]
        traits = draw_patient(np.random.default_rng([self.drawing_seed, patient]), self.difficulty)
        return render(
            np.random.default_rng([self.drawing_seed, patient, nth]), traits,
            present=(patient + nth + 1) % 2 == 1, size=self.image_size, difficulty=self.difficulty,
        )  # fmt: skip
