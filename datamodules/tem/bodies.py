"""Bodies in and on the wall: organelles, granules, specks of stain."""

import numpy as np
from numpy.typing import NDArray

from datamodules.tem.scene import MATRIX, PRECIPITATE, Scene, Site, grain, inside, membrane, paint


def organelle_sites(rng: np.random.Generator, scene: Scene, difficulty: float) -> list[Site]:
    """Choose the sites of organelles, clear of the ribbon and of each other."""
    along, out = rng.uniform(-0.9, 0.9, (2, 60)) * scene.field
    sites: list[Site] = []
    count, reaches = 1 + rng.poisson(2 + 4 * difficulty), rng.uniform(160, 320, 60)
    for spot, off, reach in zip(scene.points(along, out), out, reaches, strict=True):
        clear = off > reach + 430 or -650 < off < -reach - 300
        clear = clear and spot.min() > 0 and spot.max() < scene.field and len(sites) < count
        if clear and all(np.hypot(*(spot - site.at)) > reach + site.reach for site in sites):
            sites.append(Site(spot, float(reach), bool(off > 0)))
    return sites


def mitochondrion(rng: np.random.Generator, scene: Scene, site: Site) -> None:
    """Draw a mitochondrion: two membranes, a dark matrix, pale cristae."""
    part, x, y = scene.window(site.at, 1.3 * site.reach)
    turn, short = rng.uniform(0, np.pi), site.reach * rng.uniform(0.5, 0.7)
    grey, bend = scene.grey[part], 1.5 * scene.wobble[part]
    u, v = x * np.cos(turn) + y * np.sin(turn) + bend, y * np.cos(turn) - x * np.sin(turn) + bend
    edge = (np.hypot(u / site.reach, v / short) - 1) * short
    paint(grey, inside(edge, scene.pixel), MATRIX + scene.texture[part])
    cristae = np.cos(2 * np.pi * (u + bend) / rng.uniform(75, 100) + rng.uniform(0, 6.28))
    paint(grey, inside(edge + 30, scene.pixel) * np.clip(1.1 * cristae - 0.2, 0, 0.7), 0.78)
    membrane(grey, edge, scene.pixel)
    membrane(grey, edge + 28, scene.pixel, 10, 0.6)


def lipid_droplet(rng: np.random.Generator, scene: Scene, site: Site) -> None:
    """Draw a dark round droplet without a membrane."""
    part, x, y = scene.window(site.at, site.reach)
    edge = np.hypot(x, y) - site.reach * rng.uniform(0.35, 0.75)
    paint(scene.grey[part], inside(edge, scene.pixel), rng.uniform(0.24, 0.44))


def vesicles(rng: np.random.Generator, scene: Scene, site: Site) -> None:
    """Draw one to three pale vesicles, each with its membrane."""
    part, x, y = scene.window(site.at, 1.2 * site.reach)
    for angle in rng.uniform(0, 6.28) + np.arange(rng.integers(1, 4)) * 2 * np.pi / 3:
        away, radius = 0.55 * site.reach, site.reach * rng.uniform(0.2, 0.45)
        edge = np.hypot(x - away * np.cos(angle), y - away * np.sin(angle)) - radius
        paint(scene.grey[part], inside(edge, scene.pixel), rng.uniform(0.78, 0.9))
        membrane(scene.grey[part], edge, scene.pixel)


def granules(rng: np.random.Generator, scene: Scene, difficulty: float) -> NDArray[np.bool_]:
    """Draw one or more electron-dense granules and return the pixels they cover."""
    mask = np.zeros(scene.grey.shape, dtype=bool)
    arcs = np.linspace(-0.8, 0.8, 161) * scene.field
    # The margin exceeds the distance of any granule from the mid-line, so every centre is within the field.
    seen = np.abs(scene.points(arcs, 0.0) / scene.field - 0.5).max(axis=1) < 0.35
    fine, ragged = (grain(rng, len(mask), scene.field / scale) for scale in (35, 70))
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
        paint(scene.grey[part], 0.95 * inside((off - 1) * short, min(55, 0.6 * short)), dark)
        mask[part] |= off < 1
    return mask


def stain_precipitate(rng: np.random.Generator, scene: Scene, density: float) -> None:
    """Strew black specks anywhere, each of three grains so that none is round."""
    for at in rng.uniform(0, scene.field, (rng.poisson(density * (scene.field / 1000) ** 2), 2)):
        part, x, y = scene.window(at, 90)
        dx, dy, radius = rng.normal((0, 0, 18), (14, 14, 5), (3, 3)).T[:, :, None, None]
        edge = (np.hypot(x - dx, y - dy) - radius).min(axis=0)
        paint(scene.grey[part], 0.9 * inside(edge, scene.pixel), PRECIPITATE)
