"""Coordinates along the capillary wall, and painting: signed distances become coverage, lines and fillets."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Grey levels before a patient's contrast and brightness; 0 stops all electrons, 1 none.
URINARY, LUMEN, CYTOPLASM, RIBBON, MATRIX, MEMBRANE, PRECIPITATE = 0.87, 0.81, 0.66, 0.56, 0.48, 0.16, 0.02


class Scene(NamedTuple):
    """Coordinates of each pixel relative to the ribbon (nm), and the image `grey` that structures are painted on."""

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


class Site(NamedTuple):
    """Site of an organelle."""

    at: Floats  # (x, y) in nm
    reach: float  # radius in nm that an organelle may fill
    outside: bool  # on the podocyte's side of the ribbon


def grain(rng: np.random.Generator, size: int, cells: float) -> Floats:
    """Draw noise of about unit variance: a cubic spline over a lattice that does not depend on the size."""
    knots = rng.standard_normal((round(cells) + 3, round(cells) + 3))
    at = (np.arange(size) + 0.5) / size * round(cells)
    first, f = at.astype(int), at % 1
    weights = ((1 - f) ** 3 / 6, 2 / 3 - f**2 + f**3 / 2, 1 / 6 + (f + f**2 - f**3) / 2, f**3 / 6)
    # Gathered and summed: a matrix product would start threads that compete for the data loader's cores.
    rows = np.add.reduce([w[:, None] * knots[first + k] for k, w in enumerate(weights)])
    return np.asarray(2.09 * np.add.reduce([w * rows[:, first + k] for k, w in enumerate(weights)]))


def undulation(rng: np.random.Generator, shortest: float, longest: float) -> Callable[[Floats], Floats]:
    """Draw a smooth random function of arc length, of about unit variance."""
    waves = list(zip(2 * np.pi / rng.uniform(shortest, longest, 3), rng.uniform(0, 6.28, 3), strict=True))
    return lambda along: np.asarray(0.8 * sum(np.sin(rate * along + phase) for rate, phase in waves))


def paint(grey: Floats, cover: Floats, level: Floats | float) -> None:
    """Blend `grey` in place towards a level, where and as much as `cover` says."""
    grey += cover * (level - grey)


def inside(distance: Floats, edge: float) -> Floats:
    """Turn signed distance (negative inside) into coverage that falls off over `edge`."""
    return np.clip(0.5 - distance / edge, 0, 1)


def bump(distance: Floats, reach: float) -> Floats:
    """Fall off smoothly from 1 at distance 0 to 0 at `reach`; much cheaper than a Gaussian."""
    return np.maximum(1 - (distance / reach) ** 2, 0) ** 2


def membrane(grey: Floats, distance: Floats, pixel: float, width: float = 15, dark: float = 0.85) -> None:
    """Draw a line where the distance is 0; one thinner than a pixel grows faint but does not vanish."""
    drawn = float(np.hypot(width, 0.8 * pixel))
    paint(grey, dark * (width / drawn) ** 0.7 * bump(distance, 1.1 * drawn), MEMBRANE)


def merge(first: Floats, second: Floats, blend: float) -> Floats:
    """Join two signed distances with a rounded fillet, as outlines of cells have."""
    share = np.clip(0.5 + 0.5 * (second - first) / blend, 0, 1)
    return second + (first - second) * share - blend * share * (1 - share)
