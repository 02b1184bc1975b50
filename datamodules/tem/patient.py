"""Traits that all images of one patient share."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Patient:
    """Traits that all images of one patient's biopsy share."""

    field_nm: float  # width of the field of view, 2400 to 3800 nm (the inverse of magnification)
    ribbon_nm: float  # mean thickness of the basement membrane, 260 to 440 nm
    effacement: float  # loss of podocyte foot processes, 0 (slender, many slits) to 1 (broad, few slits)
    contrast: float  # factor on differences of grey level, 0.65 to 1.15
    brightness: float  # shift of the grey level, -0.16 to 0.16 of full scale
    dose: float  # electrons counted in a fully bright pixel, 200 to 1800; fewer means more noise
    section_nm: float  # thickness of the section, 40 to 110 nm; thicker means more blur
    precipitate: float  # specks of stain precipitate per square micrometre, 0 to 1.6


def check_difficulty(difficulty: float) -> None:
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty is {difficulty}, but must be from 0 to 1")


def draw_patient(rng: np.random.Generator, difficulty: float = 0.5) -> Patient:
    """Draw the traits of one patient; patients differ twice as much at difficulty 1 as at 0.

    Raises:
        ValueError: the difficulty is outside [0, 1].
    """
    check_difficulty(difficulty)
    shift = rng.uniform(-1, 1, 8) * (0.5 + 0.5 * difficulty)
    return Patient(
        field_nm=3100 + 700 * shift[0],
        ribbon_nm=350 + 90 * shift[1],
        effacement=0.5 + 0.5 * shift[2],
        contrast=0.9 + 0.25 * shift[3],
        brightness=0.16 * shift[4],
        dose=600 * 3 ** shift[5],
        section_nm=75 + 35 * shift[6],
        precipitate=0.8 + 0.8 * shift[7],
    )
