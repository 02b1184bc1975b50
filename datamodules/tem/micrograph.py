"""Micrograph of a patient: the scene is drawn from outside inwards, then exposed."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.tem.bodies import granules, lipid_droplet, mitochondrion, organelle_sites, stain_precipitate, vesicles
from datamodules.tem.patient import Patient, check_difficulty
from datamodules.tem.scene import Scene, bump
from datamodules.tem.wall import basement_membrane, capillary_wall, endothelium, erythrocyte, podocyte

MIN_SIZE = 32


def _expose(rng: np.random.Generator, scene: Scene, patient: Patient, difficulty: float) -> NDArray[np.uint8]:
    """Expose the section: uneven beam, knife marks, blur, the patient's grey scale, shot noise."""
    axis = np.linspace(-1, 1, len(scene.grey))
    x, y = axis[None, :], axis[:, None]
    turn, cut = rng.uniform(0, 2 * np.pi, 2)
    beam = 1 + rng.uniform(0, 0.1) * (x * np.cos(turn) + y * np.sin(turn))
    beam -= rng.uniform(0, 0.06) * (x**2 + y**2 - 2 / 3)
    for place in rng.uniform(-1, 1, rng.poisson(0.3 + 0.9 * difficulty)):
        across = x * np.cos(cut) + y * np.sin(cut) - place
        beam += rng.uniform(-0.07, 0.07) * bump(across, 0.022)
    sigma = 0.22 * patient.section_nm / scene.pixel
    grey = ndimage.gaussian_filter(scene.grey, sigma, mode="nearest", truncate=3)
    grey = (0.55 + patient.brightness + patient.contrast * (grey - 0.62)) * beam
    dose = patient.dose * (1 - 0.6 * difficulty)
    counts = rng.poisson(dose * np.clip(grey, 0.01, 1))
    return np.asarray(np.round(255 * np.clip(counts / dose, 0, 1)), dtype=np.uint8)


def render(
    rng: np.random.Generator, patient: Patient, *, present: bool, size: int = 128, difficulty: float = 0.5
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one micrograph of a patient's capillary wall.

    Args:
        rng: the same state gives the same image.
        patient: traits of the patient.
        present: whether granules are drawn; all other structures are independent of it.
        size: height and width in pixels.
        difficulty: from 0 (large dark granules, few distractors, little noise) to 1 (small faint ones, many, much).

    Returns:
        The image, and the mask of its granules, which has True pixels exactly if granules are present.

    Raises:
        ValueError: the size is below `MIN_SIZE`, or the difficulty is outside [0, 1].
    """
    check_difficulty(difficulty)
    if size < MIN_SIZE:
        raise ValueError(f"size is {size}, but must be at least {MIN_SIZE} pixels")
    # Granules have their own random stream, so that the rest of the scene is the same without them.
    granule_rng = np.random.default_rng(rng.integers(2**63))
    scene = capillary_wall(rng, patient, size)
    sites = organelle_sites(rng, scene, difficulty)
    if rng.random() < 0.35:  # as dark as granules, so that a count of dark pixels is no classifier
        erythrocyte(rng, scene)
    podocyte(rng, scene, patient.effacement, sites)
    endothelium(rng, scene, sites)
    basement_membrane(scene)
    for site in sites:
        (mitochondrion, lipid_droplet, vesicles)[rng.integers(3)](rng, scene, site)
    mask = np.zeros((size, size), dtype=bool)
    if present:
        mask = granules(granule_rng, scene, difficulty)
    stain_precipitate(rng, scene, patient.precipitate)
    return _expose(rng, scene, patient, difficulty), mask
