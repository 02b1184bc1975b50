"""The capillary wall from outside inwards: podocyte with foot processes, basement membrane, endothelium, blood cells."""

import numpy as np

from datamodules.tem.patient import Patient
from datamodules.tem.scene import (
    CYTOPLASM,
    LUMEN,
    RIBBON,
    URINARY,
    Floats,
    Scene,
    Site,
    bump,
    grain,
    inside,
    membrane,
    merge,
    paint,
    undulation,
)


def capillary_wall(rng: np.random.Generator, patient: Patient, size: int) -> Scene:
    """Lay the ribbon through the field, and paint urinary space and lumen."""
    field, pixel = patient.field_nm, patient.field_nm / size
    angle, radius = rng.uniform(-np.pi, np.pi), field * rng.uniform(0.75, 2.2)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = field * (0.5 + rng.uniform(-0.12, 0.12)) - radius * np.array([cos, sin])
    bend, swell = undulation(rng, 1100, 3500), undulation(rng, 500, 2500)
    span = rng.uniform(25, 70)
    x, y = ((np.arange(size) + 0.5) * pixel - c for c in centre)
    x, y = x[None, :], y[:, None]
    # Measured from the heading, the angle jumps only on the far side of the loop, outside the field.
    along = radius * np.arctan2(y * cos - x * sin, x * cos + y * sin)
    out = np.hypot(x, y) - radius - span * bend(along)
    half = patient.ribbon_nm / 2 * (1 + 0.12 * swell(along))
    fine, medium, coarse = (grain(rng, size, field / scale) for scale in (26, 70, 240))
    texture = 0.032 * fine + 0.036 * medium + 0.02 * coarse
    grey = np.where(out > 0, URINARY + 0.2 * texture, LUMEN + 0.6 * texture)
    return Scene(
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


def _enclose(scene: Scene, cell: Floats, sites: list[Site], outside: bool) -> None:
    """Swell a cell around its organelles in place, so that none floats in the lumen or urinary space."""
    for site in sites:
        if site.outside == outside:
            part, x, y = scene.window(site.at, 2.5 * site.reach)
            around = np.hypot(x, y) - 1.25 * site.reach + 4 * scene.wobble[part]
            cell[part] = merge(cell[part], around, 250)


def podocyte(rng: np.random.Generator, scene: Scene, effacement: float, sites: list[Site]) -> None:
    """Draw the podocyte's body and its foot processes, which fuse with `effacement`."""
    broad = rng.random(80) < effacement
    width = np.where(broad, rng.uniform(600, 1800, 80), rng.uniform(190, 420, 80))
    tall = np.where(broad, rng.uniform(180, 360, 80), rng.uniform(240, 560, 80))
    tall[rng.random(80) < 0.2] = 1500  # these are cut lengthwise, up to the cell body
    height = scene.out - scene.half - 15 + 0.5 * scene.wobble
    shape = width, rng.uniform(35, 70, 80), tall
    feet = _process_row(scene.along + scene.wobble, height, shape, 70)
    lift, base = undulation(rng, 900, 2500), rng.uniform(650, 1300)
    body = base + 180 * lift(scene.along) - height + 4 * scene.wobble
    _enclose(scene, body, sites, True)
    cell = merge(feet, body, 120)
    # Effaced processes hold a dark mat of actin along their sole.
    sole = 0.12 * effacement * bump(height - 60, 110)
    paint(scene.grey, inside(cell, scene.pixel), CYTOPLASM + scene.texture - sole)
    membrane(scene.grey, cell, scene.pixel)
    slit = (feet > 0) & (feet < 40)
    membrane(scene.grey, np.where(slit, height - 50, np.inf), scene.pixel, 8, 0.6)


def erythrocyte(rng: np.random.Generator, scene: Scene) -> None:
    """Draw a red blood cell in the lumen, as dark as granules."""
    along, gap, radius = rng.uniform((-0.4, 50, 900), (0.4, 700, 2200)) * (scene.field, 1, 1)
    ((x, y),) = scene.points(np.array([along]), -400 - gap - radius)
    axis = (np.arange(len(scene.grey)) + 0.5) * scene.pixel
    edge = np.hypot(axis[None, :] - x, axis[:, None] - y) - radius + 3 * scene.wobble
    edge = np.maximum(edge, scene.out + scene.half + 200)  # it bends to the wall, and stays in the lumen
    paint(scene.grey, inside(edge, scene.pixel), rng.uniform(0.24, 0.36) + 0.3 * scene.texture)


def endothelium(rng: np.random.Generator, scene: Scene, sites: list[Site]) -> None:
    """Draw the fenestrated endothelium along the lumen's side of the ribbon."""
    depth = 0.6 * scene.wobble - scene.out - scene.half - 25
    tall = rng.uniform(50, 110, 100) * rng.lognormal(0, 0.3, 100)
    shape = rng.uniform(100, 650, 100), rng.uniform(45, 90, 100), tall
    cell = _process_row(scene.along - scene.wobble, depth, shape, -np.inf)
    _enclose(scene, cell, sites, False)
    paint(scene.grey, inside(cell, scene.pixel), CYTOPLASM - 0.05 + scene.texture)
    membrane(scene.grey, cell, scene.pixel)


def basement_membrane(scene: Scene) -> None:
    """Draw the ribbon: a denser middle between paler edges."""
    off = np.abs(scene.out + 0.2 * scene.wobble) / scene.half
    level = RIBBON + 0.16 * np.clip(off, 0, 1.2) ** 4 + 0.7 * scene.texture
    paint(scene.grey, inside((off - 1) * scene.half, 30), level)
