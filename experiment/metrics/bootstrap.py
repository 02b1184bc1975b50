"""Confidence intervals by resampling patients.

All images of a patient are drawn together (cluster bootstrap, Davison & Hinkley 1997, section 3.8). Where a class stands in
few patients, those who show the same classes are drawn among themselves (stratified), so that no resample lacks a class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
CELLS = 2_000_000  # resamples × rows worked on at a time: 16 MB an array
STRATIFY_BELOW = 6  # of so many patients all are missed by exp(-6), 0.2 %, of unstratified resamples
JACKKNIFED = 1000  # above this many patients the acceleration is too near 0 to be worth leaving each one out
Statistic = Callable[[NDArray[np.float64]], Mapping[str, Floats]]
"""Row weights (B, N) to named values (B,)."""


@dataclass(frozen=True)
class Clusters:
    """Rows by patient, and patients by stratum.

    Attributes:
        of_row: number of the row's patient, (N,).
        stratum: number of the patient's stratum, (G,).
    """

    of_row: NDArray[np.intp]
    stratum: NDArray[np.intp]

    @classmethod
    def of(cls, target: NDArray[np.int64], group: NDArray[np.object_]) -> "Clusters":
        """Patients from `group` (N,), and strata where a class of `target` (N,) is in fewer than `STRATIFY_BELOW` patients.

        Otherwise there is one stratum: strata hold the share of each class fixed, as a new cohort would not, and make the
        intervals of whatever depends on it too narrow. A stratum of one patient could not vary; it is counted to the largest.
        """
        names, of_row = np.unique(group.astype(str), return_inverse=True)
        shows = np.zeros((len(names), int(target.max()) + 1), dtype=bool)
        shows[of_row, target] = True
        if shows.sum(axis=0).min() >= STRATIFY_BELOW:
            return cls(of_row, np.zeros(len(names), dtype=np.intp))
        _, stratum, size = np.unique(shows, axis=0, return_inverse=True, return_counts=True)
        stratum = np.where(size[stratum.ravel()] < 2, size.argmax(), stratum.ravel())
        return cls(of_row, stratum)

    @property
    def count(self) -> int:
        """Number of patients G."""
        return len(self.stratum)

    def resamples(self, count: int, seed: int) -> NDArray[np.float64]:
        """How often each patient is drawn, (count, G)."""
        rng = np.random.default_rng(seed)
        drawn = np.zeros((count, self.count))
        for stratum in np.unique(self.stratum):
            members = np.flatnonzero(self.stratum == stratum)
            drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=count)
        return drawn


@dataclass(frozen=True)
class Bootstrap:
    """Named statistics of the cohort, of its resamples, and with each patient left out.

    Attributes:
        clusters: who was resampled.
        value: name to the statistic of all rows.
        resampled: name to (B,).
        left_out: name to (G,), for the acceleration of BCa.
    """

    clusters: Clusters
    value: Mapping[str, float]
    resampled: Mapping[str, Floats]
    left_out: Mapping[str, Floats]

    @classmethod
    def run(cls, statistic: Statistic, clusters: Clusters, resamples: int = 2000, seed: int = 0) -> "Bootstrap":
        """Resample `statistic`; different statistics of one cohort and seed see the same resamples, so they may be paired."""
        of_row = clusters.of_row
        everyone = np.ones((1, clusters.count))
        value = statistic(everyone[:, of_row])
        return cls(
            clusters,
            {name: float(v[0]) for name, v in value.items()},
            in_chunks(lambda drawn: statistic(drawn[:, of_row]), clusters.resamples(resamples, seed), len(of_row)),
            in_chunks(lambda drawn: statistic(drawn[:, of_row]), 1 - np.eye(clusters.count), len(of_row))
            if clusters.count <= JACKKNIFED
            else {},
        )

    def interval(self, name: str, level: float = 0.95, method: str = "bca") -> tuple[float, float]:
        """Confidence interval of a statistic; NaN where it, or a twentieth of its resamples, is undefined.

        ``bca`` corrects bias and skew (Efron 1987; for strata Davison & Hinkley 1997, section 5.3.2), ``percentile`` does
        not. Both take quantiles further out than the nominal ones, by the ratio that Student's t and the missing degrees of
        freedom ask for: with few patients the plain ones are too narrow (Hesterberg 2015, section 4.3).
        """
        resampled = self.resampled[name]
        known = resampled[np.isfinite(resampled)]
        if not np.isfinite(self.value[name]) or len(known) < 0.95 * len(resampled):
            return float("nan"), float("nan")
        freedom = self.clusters.count - len(np.unique(self.clusters.stratum))
        wider = np.sqrt(self.clusters.count / max(freedom, 1)) * stats.t.ppf(0.5 + level / 2, max(freedom, 1))
        z = np.array([-wider, wider])
        if method == "bca":
            equal = np.isclose(known, self.value[name], rtol=1e-12, atol=1e-12)  # equal but for rounding
            below = np.mean((known < self.value[name]) & ~equal) + np.mean(equal) / 2
            bias = stats.norm.ppf(np.clip(below, 1 / len(known), 1 - 1 / len(known)))
            z = bias + (bias + z) / (1 - self._acceleration(name) * (bias + z))
        low, high = np.quantile(known, stats.norm.cdf(z))
        return float(low), float(high)

    def _acceleration(self, name: str) -> float:
        """Skew of the statistic over patients, from leaving each out."""
        left_out = self.left_out.get(name)
        if left_out is None or not np.isfinite(left_out).all():
            return 0.0
        cubes = squares = 0.0
        for stratum in np.unique(self.clusters.stratum):
            values = left_out[self.clusters.stratum == stratum]
            influence = (values.mean() - values) * (len(values) - 1) / len(values)
            cubes, squares = cubes + float(np.sum(influence**3)), squares + float(np.sum(influence**2))
        return cubes / (6 * squares**1.5) if squares > 0 else 0.0


def in_chunks(function: Callable[[Any], Mapping[str, Floats]], draws: NDArray[Any], width: int) -> dict[str, Floats]:
    """Named values (B,) of `draws` (B, …), some rows at a time: `width` numbers for each are needed, `CELLS` may be held."""
    step = max(1, CELLS // max(width, 1))
    parts = [function(draws[start : start + step]) for start in range(0, len(draws), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
