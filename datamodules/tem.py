"""Synthetic electron micrographs of the glomerular capillary wall, with known truth.

The scene is laid out as in a real capillary loop. The glomerular basement membrane is a curved ribbon,
convex towards the urinary space. From outside inwards: podocyte body, foot processes with filtration slits,
basement membrane (lamina densa between paler laminae rarae), fenestrated endothelium, capillary lumen. Dark
is electron-dense. Positive images also hold granules (immune-complex deposits) in or against the ribbon:
subepithelial, intramembranous or subendothelial. Mitochondria, lipid droplets, vesicles, erythrocytes and
stain precipitate are drawn alike in positive and negative images.

Lengths are in nm and draws do not depend on the pixel count: the same seed at a larger size is the same
scene sampled finer, with fresh shot noise (granules under 1.25 pixels are enlarged, so that none is lost).

This is a teaching and testing set, no substitute for real images: it cannot tell how a model does on those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["MIN_SIZE", "Patient", "draw_patient", "render"]

Floats = NDArray[np.float64]
MIN_SIZE = 32
# Grey levels before a patient's contrast and brightness; 0 stops all electrons, 1 none.
URINARY, LUMEN, CYTOPLASM, RIBBON, MATRIX, MEMBRANE, PRECIPITATE = 0.87, 0.81, 0.66, 0.56, 0.48, 0.16, 0.02


@dataclass(frozen=True)
class Patient:
    """What all images of one patient's biopsy have in common.

    Attributes:
        field_nm: Width of the field of view, 2400 to 3800 nm (the inverse of magnification).
        ribbon_nm: Mean thickness of the basement membrane, 260 to 440 nm.
        effacement: Loss of podocyte foot processes, 0 (slender, many slits) to 1 (broad, few slits).
        contrast: Factor on differences of grey level, 0.65 to 1.15.
        brightness: Shift of the grey level, -0.16 to 0.16 of full scale.
        dose: Electrons counted in a fully bright pixel, 200 to 1800; fewer means more noise.
        section_nm: Thickness of the section, 40 to 110 nm; thicker means more blur.
        precipitate: Specks of stain precipitate per square micrometre, 0 to 1.6.
    """

    field_nm: float
    ribbon_nm: float
    effacement: float
    contrast: float
    brightness: float
    dose: float
    section_nm: float
    precipitate: float


class _Scene(NamedTuple):
    """Where each pixel lies relative to the ribbon (nm), and `grey`, which structures are painted on."""

    pixel: float
    field: float
    centre: Floats  # (x, y) of the capillary's axis, outside the field
    heading: float  # angle from there to where arc length is 0
    mean_radius: float
    radius: Callable[[Floats], Floats]  # of the ribbon's mid-line at an arc length
    along: Floats  # arc length of each pixel
    out: Floats  # distance from the mid-line, positive towards the urinary space
    half: Floats  # half the ribbon's thickness at that arc length
    texture: Floats  # grey levels: granularity of cytoplasm
    wobble: Floats  # about 14 nm: bends outlines, so that no cell is a geometric figure
    grey: Floats

    def points(self, along: Floats, out: Floats | float) -> Floats:
        """Return the (n, 2) positions at given arc lengths and distances from the mid-line."""
        angle, reach = self.heading + along / self.mean_radius, self.radius(along) + out
        return self.centre + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)

    def window(self, at: Floats, reach: float) -> tuple[tuple[slice, slice], Floats, Floats]:
        """Return the pixels within `reach` of a point and their x and y from it; small, hence fast."""
        low = np.clip((at - reach) / self.pixel, 0, len(self.grey) - 1).astype(int)
        high = np.clip((at + reach) / self.pixel + 1, 1, len(self.grey)).astype(int)
        x, y = (np.arange(low[k], high[k]) * self.pixel + self.pixel / 2 - at[k] for k in (0, 1))
        return (slice(low[1], high[1]), slice(low[0], high[0])), x[None, :], y[:, None]


class _Site(NamedTuple):
    at: Floats  # (x, y) in nm
    reach: float  # radius in nm that an organelle may fill
    outside: bool  # on the podocyte's side of the ribbon


def _check_difficulty(difficulty: float) -> None:
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty is {difficulty}, but must be from 0 to 1")


def _grain(rng: np.random.Generator, size: int, cells: float) -> Floats:
    """Draw noise of about unit variance: a cubic spline over a lattice that does not depend on the size."""
    knots = rng.standard_normal((round(cells) + 3, round(cells) + 3))
    at = (np.arange(size) + 0.5) / size * round(cells)
    first, f = at.astype(int), at % 1
    weights = ((1 - f) ** 3 / 6, 2 / 3 - f**2 + f**3 / 2, 1 / 6 + (f + f**2 - f**3) / 2, f**3 / 6)
    # Gathered and summed, as a matrix product would start threads that fight over the data loader's cores.
    rows = np.add.reduce([w[:, None] * knots[first + k] for k, w in enumerate(weights)])
    return np.asarray(2.09 * np.add.reduce([w * rows[:, first + k] for k, w in enumerate(weights)]))


def _undulation(rng: np.random.Generator, shortest: float, longest: float) -> Callable[[Floats], Floats]:
    """Draw a smooth random function of arc length, of about unit variance."""
    waves = list(zip(2 * np.pi / rng.uniform(shortest, longest, 3), rng.uniform(0, 6.28, 3), strict=True))
    return lambda along: np.asarray(0.8 * sum(np.sin(rate * along + phase) for rate, phase in waves))


def _paint(grey: Floats, cover: Floats, level: Floats | float) -> None:
    grey += cover * (level - grey)


def _inside(distance: Floats, edge: float) -> Floats:
    """Turn signed distance (negative inside) into coverage that falls off over `edge`."""
    return np.clip(0.5 - distance / edge, 0, 1)


def _bump(distance: Floats, reach: float) -> Floats:
    """Fall off smoothly from 1 at distance 0 to 0 at `reach`; much cheaper than a Gaussian."""
    return np.maximum(1 - (distance / reach) ** 2, 0) ** 2


def _membrane(grey: Floats, distance: Floats, pixel: float, width: float = 15, dark: float = 0.85) -> None:
    """Draw a line where the distance is 0; one thinner than a pixel grows faint but does not vanish."""
    drawn = float(np.hypot(width, 0.8 * pixel))
    _paint(grey, dark * (width / drawn) ** 0.7 * _bump(distance, 1.1 * drawn), MEMBRANE)


def _merge(first: Floats, second: Floats, blend: float) -> Floats:
    """Join two signed distances with a rounded fillet, as outlines of cells have."""
    share = np.clip(0.5 + 0.5 * (second - first) / blend, 0, 1)
    return second + (first - second) * share - blend * share * (1 - share)


def _capillary_wall(rng: np.random.Generator, patient: Patient, size: int) -> _Scene:
    field, pixel = patient.field_nm, patient.field_nm / size
    angle, radius = rng.uniform(-np.pi, np.pi), field * rng.uniform(0.75, 2.2)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = field * (0.5 + rng.uniform(-0.12, 0.12)) - radius * np.array([cos, sin])
    bend, swell = _undulation(rng, 1100, 3500), _undulation(rng, 500, 2500)
    span = rng.uniform(25, 70)
    x, y = ((np.arange(size) + 0.5) * pixel - c for c in centre)
    x, y = x[None, :], y[:, None]
    # Measured from the heading, the angle jumps only on the far side of the loop, outside the field.
    along = radius * np.arctan2(y * cos - x * sin, x * cos + y * sin)
    out = np.hypot(x, y) - radius - span * bend(along)
    half = patient.ribbon_nm / 2 * (1 + 0.12 * swell(along))
    fine, medium, coarse = (_grain(rng, size, field / scale) for scale in (26, 70, 240))
    texture = 0.032 * fine + 0.036 * medium + 0.02 * coarse
    grey = np.where(out > 0, URINARY + 0.2 * texture, LUMEN + 0.6 * texture)
    return _Scene(
        pixel, field, centre, angle, radius, lambda s: radius + span * bend(s), along, out, half,
        texture, 14 * coarse, grey,
    )  # fmt: skip


def _process_row(s: Floats, height: Floats, shape: tuple[Floats, Floats, Floats], sole: float) -> Floats:
    """Return signed distance to a row of rounded processes on height 0, squarer below height `sole`.

    `shape` is the width of each process, the gap after it and its height.
    """
    width, gap, tall = shape
    ends = np.cumsum(width + gap) - (width + gap).sum() / 2
    which = np.minimum(np.searchsorted(ends, s), len(ends) - 1)
    wide, high = width[which] / 2, tall[which] / 2
    corner = np.where(height < sole, 20, np.minimum(0.85 * wide, 0.95 * high))
    # Processes narrow upwards, so that slits are tightest at the ribbon.
    wide *= 1 - np.clip(height, 0, 500) / 1600
    over_s = np.abs(s - (ends - (width + gap) / 2)[which]) - wide + corner
    over_h = np.abs(height - high) - high + corner
    outside = np.hypot(np.maximum(over_s, 0), np.maximum(over_h, 0))
    return np.asarray(outside + np.minimum(np.maximum(over_s, over_h), 0) - corner)


def _enclose(scene: _Scene, cell: Floats, sites: list[_Site], outside: bool) -> None:
    """Swell a cell around its organelles in place, so that none floats in the lumen or urinary space."""
    for site in sites:
        if site.outside == outside:
            part, x, y = scene.window(site.at, 2.5 * site.reach)
            around = np.hypot(x, y) - 1.25 * site.reach + 4 * scene.wobble[part]
            cell[part] = _merge(cell[part], around, 250)


def _podocyte(rng: np.random.Generator, scene: _Scene, effacement: float, sites: list[_Site]) -> None:
    broad = rng.random(80) < effacement
    width = np.where(broad, rng.uniform(600, 1800, 80), rng.uniform(190, 420, 80))
    tall = np.where(broad, rng.uniform(180, 360, 80), rng.uniform(240, 560, 80))
    tall[rng.random(80) < 0.2] = 1500  # these are cut lengthwise, up to the cell body
    height = scene.out - scene.half - 15 + 0.5 * scene.wobble
    shape = width, rng.uniform(35, 70, 80), tall
    feet = _process_row(scene.along + scene.wobble, height, shape, 70)
    lift, base = _undulation(rng, 900, 2500), rng.uniform(650, 1300)
    body = base + 180 * lift(scene.along) - height + 4 * scene.wobble
    _enclose(scene, body, sites, True)
    cell = _merge(feet, body, 120)
    # Effaced processes hold a dark mat of actin along their sole.
    sole = 0.12 * effacement * _bump(height - 60, 110)
    _paint(scene.grey, _inside(cell, scene.pixel), CYTOPLASM + scene.texture - sole)
    _membrane(scene.grey, cell, scene.pixel)
    slit = (feet > 0) & (feet < 40)
    _membrane(scene.grey, np.where(slit, height - 50, np.inf), scene.pixel, 8, 0.6)


def _erythrocyte(rng: np.random.Generator, scene: _Scene) -> None:
    along, gap, radius = rng.uniform((-0.4, 50, 900), (0.4, 700, 2200)) * (scene.field, 1, 1)
    ((x, y),) = scene.points(np.array([along]), -400 - gap - radius)
    axis = (np.arange(len(scene.grey)) + 0.5) * scene.pixel
    edge = np.hypot(axis[None, :] - x, axis[:, None] - y) - radius + 3 * scene.wobble
    edge = np.maximum(edge, scene.out + scene.half + 200)  # it bends to the wall, and stays in the lumen
    _paint(scene.grey, _inside(edge, scene.pixel), rng.uniform(0.24, 0.36) + 0.3 * scene.texture)


def _endothelium(rng: np.random.Generator, scene: _Scene, sites: list[_Site]) -> None:
    depth = 0.6 * scene.wobble - scene.out - scene.half - 25
    tall = rng.uniform(50, 110, 100) * rng.lognormal(0, 0.3, 100)
    shape = rng.uniform(100, 650, 100), rng.uniform(45, 90, 100), tall
    cell = _process_row(scene.along - scene.wobble, depth, shape, -np.inf)
    _enclose(scene, cell, sites, False)
    _paint(scene.grey, _inside(cell, scene.pixel), CYTOPLASM - 0.05 + scene.texture)
    _membrane(scene.grey, cell, scene.pixel)


def _basement_membrane(scene: _Scene) -> None:
    off = np.abs(scene.out + 0.2 * scene.wobble) / scene.half
    level = RIBBON + 0.16 * np.clip(off, 0, 1.2) ** 4 + 0.7 * scene.texture
    _paint(scene.grey, _inside((off - 1) * scene.half, 30), level)


def _organelle_sites(rng: np.random.Generator, scene: _Scene, difficulty: float) -> list[_Site]:
    """Choose where organelles lie: clear of the ribbon and of each other."""
    along, out = rng.uniform(-0.9, 0.9, (2, 60)) * scene.field
    sites: list[_Site] = []
    wanted, reaches = 1 + rng.poisson(2 + 4 * difficulty), rng.uniform(160, 320, 60)
    for spot, off, reach in zip(scene.points(along, out), out, reaches, strict=True):
        clear = off > reach + 430 or -650 < off < -reach - 300
        clear = clear and spot.min() > 0 and spot.max() < scene.field and len(sites) < wanted
        if clear and all(np.hypot(*(spot - site.at)) > reach + site.reach for site in sites):
            sites.append(_Site(spot, float(reach), bool(off > 0)))
    return sites


def _mitochondrion(rng: np.random.Generator, scene: _Scene, site: _Site) -> None:
    part, x, y = scene.window(site.at, 1.3 * site.reach)
    turn, short = rng.uniform(0, np.pi), site.reach * rng.uniform(0.5, 0.7)
    grey, bend = scene.grey[part], 1.5 * scene.wobble[part]
    u, v = x * np.cos(turn) + y * np.sin(turn) + bend, y * np.cos(turn) - x * np.sin(turn) + bend
    edge = (np.hypot(u / site.reach, v / short) - 1) * short
    _paint(grey, _inside(edge, scene.pixel), MATRIX + scene.texture[part])
    cristae = np.cos(2 * np.pi * (u + bend) / rng.uniform(75, 100) + rng.uniform(0, 6.28))
    _paint(grey, _inside(edge + 30, scene.pixel) * np.clip(1.1 * cristae - 0.2, 0, 0.7), 0.78)
    _membrane(grey, edge, scene.pixel)
    _membrane(grey, edge + 28, scene.pixel, 10, 0.6)


def _lipid_droplet(rng: np.random.Generator, scene: _Scene, site: _Site) -> None:
    part, x, y = scene.window(site.at, site.reach)
    edge = np.hypot(x, y) - site.reach * rng.uniform(0.35, 0.75)
    _paint(scene.grey[part], _inside(edge, scene.pixel), rng.uniform(0.24, 0.44))


def _vesicles(rng: np.random.Generator, scene: _Scene, site: _Site) -> None:
    part, x, y = scene.window(site.at, 1.2 * site.reach)
    for angle in rng.uniform(0, 6.28) + np.arange(rng.integers(1, 4)) * 2 * np.pi / 3:
        away, radius = 0.55 * site.reach, site.reach * rng.uniform(0.2, 0.45)
        edge = np.hypot(x - away * np.cos(angle), y - away * np.sin(angle)) - radius
        _paint(scene.grey[part], _inside(edge, scene.pixel), rng.uniform(0.78, 0.9))
        _membrane(scene.grey[part], edge, scene.pixel)


def _granules(rng: np.random.Generator, scene: _Scene, difficulty: float) -> NDArray[np.bool_]:
    """Draw one or more electron-dense granules and return the pixels they cover."""
    mask = np.zeros(scene.grey.shape, dtype=bool)
    arcs = np.linspace(-0.8, 0.8, 161) * scene.field
    # The margin is wider than any granule lies off the mid-line, so every centre is within the field.
    seen = np.abs(scene.points(arcs, 0.0) / scene.field - 0.5).max(axis=1) < 0.35
    fine, ragged = (_grain(rng, len(mask), scene.field / scale) for scale in (35, 70))
    for arc in rng.choice(arcs[seen], 1 + rng.poisson(2.0 - 1.2 * difficulty), replace=False):
        # Subepithelial, intramembranous or subendothelial.
        place = rng.choice([1.1, 0.0, -1.0]) + rng.uniform(-0.15, 0.15)
        (at,) = scene.points(np.array([arc]), place * float(scene.half.mean()))
        # With these least axes no dent comes within 0.71 pixel of the centre: some pixel is covered.
        short = max((150 - 75 * difficulty) * rng.lognormal(0, 0.25), 1.25 * scene.pixel)
        long = short * rng.uniform(1.1, 2.0)
        part, x, y = scene.window(at, 1.7 * long + 60)
        turn = scene.heading + arc / scene.mean_radius
        u, v = y * np.cos(turn) - x * np.sin(turn), x * np.cos(turn) + y * np.sin(turn)
        angle, phases = np.arctan2(v, u), zip((2, 3, 5), rng.uniform(0, 6.28, 3), strict=True)
        lobes = 1 + sum(0.09 * np.sin(k * angle + phase) for k, phase in phases)
        off = np.hypot(u / long, v / short) / lobes * (1 + 0.08 * np.clip(ragged[part], -2, 2))
        dark = 0.28 + 0.08 * difficulty + rng.uniform(-0.03, 0.03) + 0.045 * fine[part]
        _paint(scene.grey[part], 0.95 * _inside((off - 1) * short, min(55, 0.6 * short)), dark)
        mask[part] |= off < 1
    return mask


def _stain_precipitate(rng: np.random.Generator, scene: _Scene, density: float) -> None:
    """Strew black specks anywhere, each of three grains so that none is round."""
    for at in rng.uniform(0, scene.field, (rng.poisson(density * (scene.field / 1000) ** 2), 2)):
        part, x, y = scene.window(at, 90)
        dx, dy, radius = rng.normal((0, 0, 18), (14, 14, 5), (3, 3)).T[:, :, None, None]
        edge = (np.hypot(x - dx, y - dy) - radius).min(axis=0)
        _paint(scene.grey[part], 0.9 * _inside(edge, scene.pixel), PRECIPITATE)


def _expose(rng: np.random.Generator, scene: _Scene, patient: Patient, difficulty: float) -> NDArray[np.uint8]:
    """Photograph the section: uneven beam, knife marks, blur, the patient's grey scale, shot noise."""
    axis = np.linspace(-1, 1, len(scene.grey))
    x, y = axis[None, :], axis[:, None]
    turn, cut = rng.uniform(0, 2 * np.pi, 2)
    beam = 1 + rng.uniform(0, 0.1) * (x * np.cos(turn) + y * np.sin(turn))
    beam -= rng.uniform(0, 0.06) * (x**2 + y**2 - 2 / 3)
    for place in rng.uniform(-1, 1, rng.poisson(0.3 + 0.9 * difficulty)):
        across = x * np.cos(cut) + y * np.sin(cut) - place
        beam += rng.uniform(-0.07, 0.07) * _bump(across, 0.022)
    sigma = 0.22 * patient.section_nm / scene.pixel
    grey = ndimage.gaussian_filter(scene.grey, sigma, mode="nearest", truncate=3)
    grey = (0.55 + patient.brightness + patient.contrast * (grey - 0.62)) * beam
    dose = patient.dose * (1 - 0.6 * difficulty)
    counts = rng.poisson(dose * np.clip(grey, 0.01, 1))
    return np.asarray(np.round(255 * np.clip(counts / dose, 0, 1)), dtype=np.uint8)


def draw_patient(rng: np.random.Generator, difficulty: float = 0.5) -> Patient:
    """Draw the traits that all images of one patient share.

    Args:
        rng: Source of randomness.
        difficulty: From 0 to 1; patients differ twice as much at 1 as at 0.

    Returns:
        The patient's traits.

    Raises:
        ValueError: If the difficulty is outside [0, 1].
    """
    _check_difficulty(difficulty)
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


def render(
    rng: np.random.Generator, patient: Patient, *, present: bool, size: int = 128, difficulty: float = 0.5
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one micrograph of a patient's capillary wall.

    Args:
        rng: Source of randomness; the same state gives the same image.
        patient: The traits shared by the patient's images.
        present: Whether granules are drawn; all other structures are independent of it.
        size: Height and width in pixels, at least `MIN_SIZE`.
        difficulty: From 0 (large dark granules, few distractors, little noise) to 1 (small faint granules,
            many distractors, more noise).

    Returns:
        The image, and the mask of its granules, which has a True pixel exactly if one is present.

    Raises:
        ValueError: If the size is below `MIN_SIZE` or the difficulty is outside [0, 1].
    """
    _check_difficulty(difficulty)
    if size < MIN_SIZE:
        raise ValueError(f"size is {size}, but must be at least {MIN_SIZE} pixels")
    # Granules have a stream of their own, so that the rest of the scene is the same without them.
    granule_rng = np.random.default_rng(rng.integers(2**63))
    scene = _capillary_wall(rng, patient, size)
    sites = _organelle_sites(rng, scene, difficulty)
    if rng.random() < 0.35:  # as dark as granules, so that a count of dark pixels tells little
        _erythrocyte(rng, scene)
    _podocyte(rng, scene, patient.effacement, sites)
    _endothelium(rng, scene, sites)
    _basement_membrane(scene)
    for site in sites:
        (_mitochondrion, _lipid_droplet, _vesicles)[rng.integers(3)](rng, scene, site)
    mask = np.zeros((size, size), dtype=bool)
    if present:
        mask = _granules(granule_rng, scene, difficulty)
    _stain_precipitate(rng, scene, patient.precipitate)
    return _expose(rng, scene, patient, difficulty), mask
