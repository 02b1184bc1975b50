"""Confidence intervals by resampling patients.

All images of a patient are drawn together (cluster bootstrap, Davison & Hinkley 1997, section 3.8). Where a class occurs in
few patients, patients with the same classes form a stratum and are drawn within it, so that no resample lacks a class.

>>> clusters = Clusters.of(np.zeros(8, dtype=np.int64), np.array([f"patient-{n}" for n in range(8)], dtype=object))
>>> values = np.arange(8.0)
>>> boot = Bootstrap.run(lambda weight: {"mean": weight @ values / weight.sum(axis=1)}, clusters)
>>> boot.value["mean"]
3.5
>>> low, high = boot.interval("mean")
>>> bool(0 < low < 3.5 < high < 7)
True
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
CELLS = 2_000_000  # resamples × rows per chunk: 16 MB per array
STRATIFY_BELOW = 6  # patients: exp(-6), 0.2 %, of unstratified resamples miss all of so many
JACKKNIFED = 1000  # patients: with more, the acceleration is too near 0 to be worth leaving out each of them
Statistic = Callable[[NDArray[np.float64]], Mapping[str, Floats]]
"""Function from row weights (B, N) to named values (B,)."""


@dataclass(frozen=True)
class Clusters:
    """Assignment of rows to patients, and of patients to strata."""

    of_row: NDArray[np.intp]  # index of each row's patient, (N,)
    stratum: NDArray[np.intp]  # index of each patient's stratum, (G,)

    @classmethod
    def of(cls, target: NDArray[np.int64], group: NDArray[np.object_]) -> "Clusters":
        """Build clusters from `group` (N,), stratified if a class of `target` (N,) is in fewer than `STRATIFY_BELOW` patients.

        Otherwise there is one stratum: strata fix the share of each class, which varies between cohorts, and so make the
        intervals of metrics that depend on it too narrow. A stratum of one patient could not vary; it joins the largest one.
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
        """Return how often each resample draws each patient, (count, G)."""
        rng = np.random.default_rng(seed)
        drawn = np.zeros((count, self.count))
        for stratum in np.unique(self.stratum):
            members = np.flatnonzero(self.stratum == stratum)
            drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=count)
        return drawn


@dataclass(frozen=True)
class Bootstrap:
    """Statistics of a cohort, of its resamples, and of the cohort without each patient."""

    clusters: Clusters  # patients that are resampled
    value: Mapping[str, float]  # statistic of all rows, by name
    resampled: Mapping[str, Floats]  # statistic of each resample, (B,), by name
    left_out: Mapping[str, Floats]  # statistic without each patient, (G,), by name; for the acceleration of BCa

    @classmethod
    def run(cls, statistic: Statistic, clusters: Clusters, resamples: int = 2000, seed: int = 0) -> "Bootstrap":
        """Resample `statistic`.

        Statistics of the same cohort and seed are computed on the same resamples, so they may be paired.
        """

        def of(drawn: Floats) -> dict[str, Floats]:
            return in_chunks(lambda chunk: statistic(chunk[:, clusters.of_row]), drawn, len(clusters.of_row))

        value = {name: float(v[0]) for name, v in of(np.ones((1, clusters.count))).items()}
        left_out = of(1 - np.eye(clusters.count)) if clusters.count <= JACKKNIFED else {}
        return cls(clusters, value, of(clusters.resamples(resamples, seed)), left_out)

    def save(self, path: Path, made_from: str) -> None:
        """Store the statistics with a digest of everything they were made from."""
        parts = {"value": self.value, "resampled": self.resampled, "left_out": self.left_out}
        arrays: dict[str, Any] = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
        with path.open("wb") as file:
            np.savez(file, made_from=np.array(made_from), **arrays)

    @classmethod
    def load(cls, path: Path, clusters: Clusters, made_from: str) -> "Bootstrap | None":
        """Return the statistics stored at `path`; None if there are none, or if they were made from something else."""
        if not path.is_file():
            return None
        parts: dict[str, dict[str, Floats]] = {"value": {}, "resampled": {}, "left_out": {}}
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["made_from"]) != made_from:
                return None
            for key in set(stored.files) - {"made_from"}:
                part, name = key.split("/")
                parts[part][name] = stored[key]
        value = {name: float(array) for name, array in parts["value"].items()}
        return cls(clusters, value, parts["resampled"], parts["left_out"])

    def interval(self, name: str, level: float = 0.95, method: str = "bca") -> tuple[float, float]:
        """Return the confidence interval of a statistic; NaN if it, or a twentieth of its resamples, is undefined.

        ``bca`` corrects bias and skew (Efron 1987; for strata Davison & Hinkley 1997, section 5.3.2), ``percentile`` does
        not. Both use quantiles further out than the nominal ones, scaled by Student's t and the lost degrees of freedom:
        with few patients the plain intervals are too narrow (Hesterberg 2015, section 4.3).
        """
        resampled = self.resampled[name]
        finite = resampled[np.isfinite(resampled)]
        if not np.isfinite(self.value[name]) or len(finite) < 0.95 * len(resampled):
            return float("nan"), float("nan")
        freedom = self.clusters.count - len(np.unique(self.clusters.stratum))
        wider = np.sqrt(self.clusters.count / max(freedom, 1)) * stats.t.ppf(0.5 + level / 2, max(freedom, 1))
        z = np.array([-wider, wider])
        if method == "bca":
            equal = np.isclose(finite, self.value[name], rtol=1e-12, atol=1e-12)  # up to rounding
            below = np.mean((finite < self.value[name]) & ~equal) + np.mean(equal) / 2
            bias = stats.norm.ppf(np.clip(below, 1 / len(finite), 1 - 1 / len(finite)))
            z = bias + (bias + z) / (1 - self._acceleration(name) * (bias + z))
        low, high = np.quantile(finite, stats.norm.cdf(z))
        return float(low), float(high)

    def _acceleration(self, name: str) -> float:
        """Return the skew of the statistic over patients, from the values without each patient."""
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
    """Apply `function` to `draws` (B, …) in chunks and return its named values (B,).

    Each draw needs `width` numbers of memory; a chunk has as many draws as fit into `CELLS`.
    """
    step = max(1, CELLS // max(width, 1))
    parts = [function(draws[start : start + step]) for start in range(0, len(draws), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
