"""Optimism: how much too good a choice looks when it is made and reported on the same rows.

The honest path learns in each fold on val rows, which the models were not fitted on, and is reported on test rows. The naive
path, common in papers, learns on all test predictions and is reported on them. Naive minus honest is the optimism gap (Efron
1986). With random labels the honest path is at chance and the whole gap is optimism; with real labels a part of the gap comes
from the naive path learning from more rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import roc_curve
from torch import Tensor

from experiment.core.class_weights import balanced_weights
from experiment.metrics.combiners import COMBINERS, NEED_VAL
from experiment.metrics.scores import score

Way = Callable[[Tensor], Tensor]
"""Function from the members' predictions (M, N, K) to one prediction (N, K)."""


@dataclass(frozen=True)
class Rows:
    """Rows that a choice is made on."""

    p: Tensor  # predictions of the members, (M, N, K)
    target: Tensor  # class indices, (N,)

    @cached_property
    def combined(self) -> dict[str, Way]:
        """Every combiner, fitted on these rows with balanced class weights."""
        weight = balanced_weights(self.target, self.p.shape[-1])
        fitted: dict[str, Way] = {}
        for name, combiner_of in COMBINERS.items():
            combiner = combiner_of(len(self.p), self.p.shape[-1])
            combiner.fit(self.p, self.target, weight)
            fitted[name] = torch.inference_mode()(combiner.forward)
        return fitted


Chooser = Callable[[Rows], Way]


def gaps(folds: Sequence[tuple[Rows, Rows]], positive: int) -> list[dict[str, float | str]]:
    """Return ``choice``, ``metric``, ``honest``, ``naive`` and ``gap`` of each choice, from val and test rows of each fold.

    Without val rows there is no honest choice, and the result is empty.
    """
    if not folds or any(not len(val.target) for val, _ in folds):
        return []
    p_test, target = torch.cat([test.p for _, test in folds], dim=1), torch.cat([test.target for _, test in folds])
    test_rows = Rows(p_test, target)
    out: list[dict[str, float | str]] = []
    for choice, (choose, metric) in choosers(positive, p_test.shape[-1]).items():
        honest = torch.cat([choose(val)(test.p) for val, test in folds])
        naive = choose(test_rows)(p_test)
        values = [score(target.numpy(), p.numpy(), positive)[metric] for p in (honest, naive)]
        out.append({"choice": choice, "metric": metric, "honest": values[0], "naive": values[1], "gap": values[1] - values[0]})
    return out


def choosers(positive: int, classes: int) -> dict[str, tuple[Chooser, str]]:
    """Return the choices that an ensemble invites, each with the metric that it optimises."""
    out: dict[str, tuple[Chooser, str]] = {f"weights of {name}": (_learned(name), "auroc") for name in sorted(NEED_VAL)}
    out["best of all combiners and members"] = (_best, "auroc")
    if classes == 2:
        out["threshold of the logit mean"] = (_threshold(positive), "balanced_accuracy")
    return out


def _learned(name: str) -> Chooser:
    return lambda rows: rows.combined[name]


def _best(rows: Rows) -> Way:
    ways = list(rows.combined.values())
    ways += [lambda p, member=member: p[member] for member in range(len(rows.p))]  # type: ignore[misc]
    # with two classes, both have the same AUROC
    scored = [score(rows.target.numpy(), way(rows.p).numpy(), positive=0)["auroc"] for way in ways]
    return ways[int(np.nanargmax(scored))] if np.isfinite(scored).any() else ways[0]


def _threshold(positive: int) -> Chooser:
    """Choose the threshold with the best balanced accuracy, and shift the probabilities so that ½ decides like it."""

    def choose(rows: Rows) -> Way:
        pooled = COMBINERS["logit_mean"](len(rows.p), 2)
        truth = (rows.target == positive).numpy()
        score = _log_odds(pooled(rows.p), positive)
        if truth.all() or not truth.any():
            return pooled
        fall_out, recall, thresholds = roc_curve(truth, score.numpy(), drop_intermediate=False)
        cut = float(thresholds[1:][np.argmax((recall - fall_out)[1:])])

        def shifted(q: Tensor) -> Tensor:
            says = (_log_odds(pooled(q), positive) - cut + 1e-9).sigmoid()
            return torch.stack([says, 1 - says] if positive == 0 else [1 - says, says], dim=1)

        return shifted

    return choose


def _log_odds(p: Tensor, positive: int) -> Tensor:
    return (p[:, positive] / p[:, 1 - positive].clamp_min(1e-12)).clamp_min(1e-12).log()
