"""Folds: the fit, val and test samples of each fold. Invariants are checked on every table, new or read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.errors import UserError
from experiment.core.identity import digest
from experiment.core.partition import even_sizes, group_counts, partition
from experiment.core.seeds import seed_for
from experiment.core.tables import PARTS, SampleTable, Split

ATTEMPTS = 10  # partitions into folds to try, until one leaves room for a val part in every fold


@dataclass(frozen=True)
class Splits:
    """All folds as one table: columns ``repeat``, ``fold``, ``sample_id``, ``part``; each sample once in each fold."""

    table: pd.DataFrame

    @property
    def fingerprint(self) -> str:
        """Return a digest of the part of every sample; the order of rows does not matter."""
        columns = ["repeat", "fold", "sample_id", "part"]
        return digest(self.table[columns].sort_values(columns).to_numpy(dtype=str).tolist())

    def __iter__(self) -> Iterator[Split]:
        for (repeat, fold), rows in self.table.groupby(["repeat", "fold"], sort=True):
            fit, val, test = (tuple(rows.loc[rows["part"] == part, "sample_id"]) for part in PARTS)
            yield Split(repeat=int(str(repeat)), fold=int(str(fold)), fit=fit, val=val, test=test)


@dataclass(frozen=True)
class FoldScheme:
    """How to split: stratified by class, shuffled by seed and, unless `grouped` is off, whole groups at a time.

    Raises:
        UserError: a value is not allowed.

    Example:
        Six images of each of ten patients, every third of them positive:

        >>> rows = pd.DataFrame({"sample_id": [f"image {n}" for n in range(60)], "target": [n % 3 == 0 for n in range(60)]})
        >>> rows = rows.assign(target=rows["target"].astype(int), group=[f"patient {n // 6}" for n in range(60)])
        >>> samples = SampleTable(rows, ("absent", "present"), positive="present", grouped=True)
        >>> splits = FoldScheme(k=5, val=0.25).split(samples, seed=0)
        >>> [(len(split.fit), len(split.val), len(split.test)) for split in splits]
        [(36, 12, 12), (36, 12, 12), (36, 12, 12), (36, 12, 12), (36, 12, 12)]
    """

    grouped: bool = True  # keep groups (patients) together. Without it, images of one patient may be in both fit and test.
    k: int = 5  # number of folds
    repeats: int = 1  # number of splits, each with another shuffle
    # share of each training part that is not fitted on, but used for early stopping, calibration and combining; approximate,
    # because groups stay whole. 0 takes none.
    val: float = 0.15
    only: Sequence[int] | None = None  # folds to run now; another command can run the others. None runs all.
    # how many folds to run at the same time; ``auto`` takes the fastest number for the machine
    parallel: int | Literal["auto"] = 1

    def __post_init__(self) -> None:
        folds_exist = self.only is None or (len(self.only) > 0 and all(0 <= fold < self.k for fold in self.only))
        for name, valid, advice in (
            ("k", self.k >= 2, "take 2 or more"),
            ("repeats", self.repeats >= 1, "take 1 or more"),
            ("val", 0 <= self.val <= 0.5, "it is a share of the training part, from 0 to 0.5"),
            ("parallel", self.parallel == "auto" or self.parallel >= 1, "take auto, or 1 or more"),
            ("only", folds_exist, f"name folds from 0 to {self.k - 1}"),
        ):
            if not valid:
                raise UserError(f"folds.{name}={getattr(self, name)} is not allowed; {advice}.")

    def selected(self, splits: Splits) -> list[Split]:
        """Return the folds to run now."""
        return [split for split in splits if self.only is None or split.fold in self.only]

    def split(self, samples: SampleTable, seed: int) -> Splits:
        """Split the samples.

        In each fold fit, val and test share no group, are complete together, and hold every class each. Over the folds of
        one repeat each sample is tested once.

        Raises:
            UserError: a class is in too few groups for that; the message counts them.
        """
        group = samples.group if self.grouped else samples.sample_id
        member, counts = group_counts(group, samples.target, len(samples.classes))
        self._refuse_infeasible(samples, counts)
        rows = []
        for repeat in range(self.repeats):
            for fold, part in enumerate(self._parts(counts, samples.classes, seed, repeat)):
                rows.append(
                    pd.DataFrame({"repeat": repeat, "fold": fold, "sample_id": samples.sample_id, "part": part[member]})
                )
        table = pd.concat(rows, ignore_index=True)
        check_splits(table, samples, grouped=self.grouped)
        return Splits(table)

    def _parts(self, counts: NDArray[np.int64], classes: Sequence[str], seed: int, repeat: int) -> list[NDArray[np.object_]]:
        """Return for each fold the part of each group, (G,). Redraw a partition that leaves a fold without a val part."""
        for attempt in range(ATTEMPTS):
            spare = 2 if self.val else 1  # groups of each class: one for fit, one for val
            folds = partition(counts, [1 / self.k] * self.k, spare, seed_for(seed, repeat, attempt, "folds"))
            if folds is None:
                continue
            folds, parts = even_sizes(folds, counts, spare), []
            for fold in range(self.k):
                part = np.where(folds == fold, "test", "fit").astype(object)
                if self.val:
                    training = np.flatnonzero(folds != fold)
                    val = partition(counts[training], [1 - self.val, self.val], 1, seed_for(seed, repeat, fold, "val"))
                    if val is None:
                        break
                    part[training[val == 1]] = "val"
                parts.append(part)
            if len(parts) == self.k:
                return parts
        raise UserError(
            f"no partition gives each of the folds.k={self.k} folds a fit{', val' if self.val else ''} and test part with "
            f"every class; there are: {_listed(counts, classes)} groups. Take a smaller folds.k, or folds.val=0 with a model "
            "that needs none."
        )

    def _refuse_infeasible(self, samples: SampleTable, counts: NDArray[np.int64]) -> None:
        kind = "groups" if self.grouped and samples.grouped else "images"
        # Each fold needs every class in test, fit and val; all k folds must test it.
        needed = max(self.k, 3 if self.val else 2)
        if (counts > 0).sum(axis=0).min() < needed:
            raise UserError(
                f"folds.k={self.k} with folds.val={self.val} needs every class in at least {needed} {kind}, but there are: "
                f"{_listed(counts, samples.classes)}. Take a smaller folds.k"
                + (" or, if leaking patients is acceptable, folds=stratified." if self.grouped else ".")
            )


def _listed(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    return ", ".join(f"{name} in {n}" for name, n in zip(classes, (counts > 0).sum(axis=0), strict=True))


def check_splits(table: pd.DataFrame, samples: SampleTable, grouped: bool) -> None:
    """Refuse a table that is not a cross-validation of these samples.

    Raises:
        ValueError: naming the broken invariant.
    """
    if not set(table["part"]) <= set(PARTS):
        raise ValueError(f"splits: unknown parts {sorted(set(table['part']) - set(PARTS))}")
    sample_ids = set(samples.sample_id)
    for (repeat, fold), rows in table.groupby(["repeat", "fold"]):
        if rows["sample_id"].duplicated().any() or set(rows["sample_id"]) != sample_ids:
            raise ValueError(f"splits: repeat {repeat}, fold {fold} does not hold every sample once")
        if grouped:
            joined = rows.merge(samples.rows, on="sample_id")
            crossing = joined.groupby("group")["part"].nunique()
            if (crossing > 1).any():
                raise ValueError(f"splits: group {crossing.idxmax()!r} crosses parts of repeat {repeat}, fold {fold}")
    for repeat, rows in table[table["part"] == "test"].groupby("repeat"):
        if rows["sample_id"].duplicated().any() or set(rows["sample_id"]) != sample_ids:
            raise ValueError(f"splits: repeat {repeat!r} does not test every sample once")
