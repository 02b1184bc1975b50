"""Folds: who is in fit, val and test of each fold. Invariants are checked on every table, made or read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from experiment.contracts import PARTS, SampleTable, Split
from experiment.errors import UserError
from experiment.identity import digest
from experiment.seeds import seed_for

ATTEMPTS = 50  # a shuffle may by chance leave a rare class out of a fold; the next one rarely does


@dataclass(frozen=True)
class Splits:
    """All folds as one table: columns ``repeat``, ``fold``, ``sample_id``, ``part``; each sample once in each fold."""

    table: pd.DataFrame

    @property
    def fingerprint(self) -> str:
        """Digest of who is where; the order of rows does not matter."""
        columns = ["repeat", "fold", "sample_id", "part"]
        return digest(self.table[columns].sort_values(columns).to_numpy(dtype=str).tolist())

    def __iter__(self) -> Iterator[Split]:
        for (repeat, fold), rows in self.table.groupby(["repeat", "fold"], sort=True):
            fit, val, test = (tuple(rows.loc[rows["part"] == part, "sample_id"]) for part in PARTS)
            yield Split(repeat=int(str(repeat)), fold=int(str(fold)), fit=fit, val=val, test=test)


@dataclass(frozen=True)
class FoldScheme:
    """How to split: stratified by class, shuffled by seed and, unless `grouped` is off, whole groups at a time.

    Attributes:
        grouped: keep groups (patients) together. Off, images of one patient may stand in fit and test alike.
        k: number of folds.
        repeats: how many times to shuffle and split anew.
        val: share of each training part that is kept from fitting, for early stopping, calibration and combining;
            whole groups make it approximate. 0 keeps none.
        only: folds to run now; the others wait for another command. None runs all.
    """

    grouped: bool = True
    k: int = 5
    repeats: int = 1
    val: float = 0.15
    only: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.k < 2:
            raise UserError(f"folds.k={self.k} is not allowed; take 2 or more.")
        if self.repeats < 1:
            raise UserError(f"folds.repeats={self.repeats} is not allowed; take 1 or more.")
        if not 0 <= self.val <= 0.5:
            raise UserError(f"folds.val={self.val} is not allowed; it is a share of the training part, from 0 to 0.5.")
        wrong = [fold for fold in self.only or () if not 0 <= fold < self.k]
        if wrong or (self.only is not None and not list(self.only)):
            raise UserError(f"folds.only={list(self.only or ())} is not allowed; name folds from 0 to {self.k - 1}.")

    def selected(self, splits: Splits) -> list[Split]:
        """The folds to run now."""
        return [split for split in splits if self.only is None or split.fold in self.only]

    def split(self, samples: SampleTable, seed: int) -> Splits:
        """Split the samples.

        In each fold fit, val and test are disjoint in groups and together complete, and each holds every class.
        Over the folds of one repeat each sample is tested once.

        Raises:
            UserError: a class stands in too few groups for that; the counts are given.
        """
        group = samples.group if self.grouped else samples.sample_id
        self._refuse_infeasible(samples, group)
        rows = []
        for repeat in range(self.repeats):
            folds = _shuffled(samples.target, group, self.k, seed_for(seed, repeat, 0, "folds"))
            for fold in range(self.k):
                part = np.where(folds == fold, "test", "fit").astype(object)
                training = np.flatnonzero(folds != fold)
                val_seed = seed_for(seed, repeat, fold, "val")
                part[training[_validation(samples.target[training], group[training], self.val, val_seed)]] = "val"
                rows.append(pd.DataFrame({"repeat": repeat, "fold": fold, "sample_id": samples.sample_id, "part": part}))
        table = pd.concat(rows, ignore_index=True)
        check_splits(table, samples, grouped=self.grouped)
        return Splits(table)

    def _refuse_infeasible(self, samples: SampleTable, group: NDArray[np.object_]) -> None:
        kind = "groups" if self.grouped and samples.grouped else "images"
        counts = {name: len(set(group[samples.target == index])) for index, name in enumerate(samples.classes)}
        needed = max(self.k, 3 if self.val else 2)  # one for each of fit, val and test
        if min(counts.values()) < needed:
            listed = ", ".join(f"{name} in {count}" for name, count in counts.items())
            raise UserError(
                f"folds.k={self.k} with folds.val={self.val} needs every class in at least {needed} {kind}, but there are: "
                f"{listed}. Take a smaller folds.k"
                + (" or, if leaking patients is acceptable, folds=stratified." if self.grouped else ".")
            )


def _splitter(group: NDArray[np.object_], n_splits: int, seed: int) -> StratifiedGroupKFold | StratifiedKFold:
    """Same invariants either way; with one image a group the plain splitter is exact and does not slow down with N."""
    kind = StratifiedKFold if len(set(group)) == len(group) else StratifiedGroupKFold
    return kind(n_splits, shuffle=True, random_state=seed)


def _shuffled(target: NDArray[np.int64], group: NDArray[np.object_], k: int, seed: int) -> NDArray[np.int64]:
    """Fold number of each row, every class in every fold."""
    for attempt in range(ATTEMPTS):
        folds = np.empty(len(target), dtype=np.int64)
        for fold, (_, test) in enumerate(_splitter(group, k, (seed + attempt) % 2**32).split(target, target, group)):
            folds[test] = fold
        if all(len(set(target[folds == fold])) == len(set(target)) for fold in range(k)):
            return folds
    raise UserError(
        f"no shuffle of {len(set(group))} groups into folds.k={k} folds gave every fold every class; take a smaller folds.k."
    )


def _validation(target: NDArray[np.int64], group: NDArray[np.object_], share: float, seed: int) -> NDArray[np.intp]:
    """Row numbers of the validation part: of the candidate parts, the one nearest to `share` of every class."""
    if not share:
        return np.empty(0, dtype=np.intp)
    classes = np.unique(target)
    fewest = min(len(set(group[target == c])) for c in classes)
    best: tuple[float, NDArray[np.intp]] = (np.inf, np.empty(0, dtype=np.intp))
    if fewest >= 2:
        for _, part in _splitter(group, min(fewest, round(1 / share)), seed).split(target, target, group):
            shares = np.array([(target[part] == c).sum() / (target == c).sum() for c in classes])
            usable = bool((shares > 0).all() and (shares < 1).all())
            distance = float(np.abs(shares - share).sum()) if usable else np.inf
            best = min(best, (distance, part), key=lambda candidate: candidate[0])
    if not np.isfinite(best[0]):
        raise UserError(
            f"folds.val={share}: {len(set(group))} training groups cannot give every class to both fit and val; "
            "take a smaller folds.k, or folds.val=0 with a model that chooses nothing on val."
        )
    return best[1]


def check_splits(table: pd.DataFrame, samples: SampleTable, grouped: bool) -> None:
    """Refuse a table that is not a cross-validation of these samples.

    Raises:
        ValueError: naming the broken invariant.
    """
    if not set(table["part"]) <= set(PARTS):
        raise ValueError(f"splits: unknown parts {sorted(set(table['part']) - set(PARTS))}")
    everyone = set(samples.sample_id)
    for (repeat, fold), rows in table.groupby(["repeat", "fold"]):
        if rows["sample_id"].duplicated().any() or set(rows["sample_id"]) != everyone:
            raise ValueError(f"splits: repeat {repeat}, fold {fold} does not hold every sample once")
        if grouped:
            joined = rows.merge(samples.rows, on="sample_id")
            crossing = joined.groupby("group")["part"].nunique()
            if (crossing > 1).any():
                raise ValueError(f"splits: group {crossing.idxmax()!r} crosses parts of repeat {repeat}, fold {fold}")
    for repeat, rows in table[table["part"] == "test"].groupby("repeat"):
        if rows["sample_id"].duplicated().any() or set(rows["sample_id"]) != everyone:
            raise ValueError(f"splits: repeat {repeat!r} does not test every sample once")
