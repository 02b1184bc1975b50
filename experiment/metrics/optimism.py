"""How much too good a choice looks when it is made and reported on the same rows.

The honest path learns in each fold on val rows, by models that did not see them, and is reported on test rows. The naive
path, common in papers, learns on all test predictions and reports on these. Naive less honest is the optimism gap (Efron
1986). On labels that mean nothing the honest path is at chance and the gap is all optimism; on real ones part of it is
that the naive path learns from more rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import roc_curve
from torch import Tensor

from experiment.core.class_weights import balanced_weights
from experiment.metrics.combiners import COMBINERS, NEED_VAL, Combiner
from experiment.metrics.scores import score


@dataclass(frozen=True)
class FoldTables:
    """What the members predict in one fold.

    Attributes:
        val: probabilities on val rows, (M, V, K).
        val_target: (V,).
        test: (M, T, K).
        test_target: (T,).
    """

    val: Tensor
    val_target: Tensor
    test: Tensor
    test_target: Tensor


Way = Callable[[Tensor], Tensor]
"""What turns members' predictions (M, N, K) into one, (N, K)."""


@dataclass(frozen=True)
class Seen:
    """What a choice is made on.

    Attributes:
        p: members' predictions, (M, N, K).
        target: (N,).
    """

    p: Tensor
    target: Tensor

    @cached_property
    def combined(self) -> dict[str, Way]:
        """Every combiner, having learned from these rows, with classes having the same say."""
        weight = balanced_weights(self.target, self.p.shape[-1])
        found: dict[str, Way] = {}
        for name, combiner_of in COMBINERS.items():
            combiner = combiner_of(len(self.p), self.p.shape[-1])
            combiner.fit(self.p, self.target, weight)
            found[name] = _without_gradient(combiner)
        return found


Chooser = Callable[[Seen], Way]


def gaps(folds: Sequence[FoldTables], positive: int) -> list[dict[str, float | str]]:
    """For each way to choose: ``choice``, ``metric``, ``honest``, ``naive`` and ``gap``. Two classes or more."""
    if not folds or any(len(fold.val) == 0 or not len(fold.val_target) for fold in folds):
        return []
    everyone, target = torch.cat([fold.test for fold in folds], dim=1), torch.cat([fold.test_target for fold in folds])
    out: list[dict[str, float | str]] = []
    seen, all_seen = [Seen(fold.val, fold.val_target) for fold in folds], Seen(everyone, target)
    for choice, (choose, metric) in choosers(positive, everyone.shape[-1]).items():
        honest = torch.cat([choose(rows)(fold.test) for rows, fold in zip(seen, folds, strict=True)])
        naive = choose(all_seen)(everyone)
        values = [score(target.numpy(), p.numpy(), positive)[metric] for p in (honest, naive)]
        out.append({"choice": choice, "metric": metric, "honest": values[0], "naive": values[1], "gap": values[1] - values[0]})
    return out


def choosers(positive: int, classes: int) -> dict[str, tuple[Chooser, str]]:
    """Each choice that an ensemble invites, and the metric that it is made for."""
    found: dict[str, tuple[Chooser, str]] = {f"weights of {name}": (_learned(name), "auroc") for name in sorted(NEED_VAL)}
    found["best of all combiners and members"] = (_best, "auroc")
    if classes == 2:
        found["threshold of the logit mean"] = (_threshold(positive), "balanced_accuracy")
    return found


def _learned(name: str) -> Chooser:
    return lambda seen: seen.combined[name]


def _best(seen: Seen) -> Way:
    ways = list(seen.combined.values())
    ways += [lambda p, member=member: p[member] for member in range(len(seen.p))]  # type: ignore[misc]
    # of two classes either has the same
    scored = [score(seen.target.numpy(), way(seen.p).numpy(), positive=0)["auroc"] for way in ways]
    return ways[int(np.nanargmax(scored))] if np.isfinite(scored).any() else ways[0]


def _threshold(positive: int) -> Chooser:
    """The threshold with the best balanced accuracy, put into the probabilities as a shift, so that ½ decides as it does."""

    def choose(seen: Seen) -> Way:
        pooled = COMBINERS["logit_mean"](len(seen.p), 2)
        truth = (seen.target == positive).numpy()
        score = _log_odds(pooled(seen.p), positive)
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


def _without_gradient(combiner: Combiner) -> Way:
    def combined(p: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = combiner(p)
            return out

    return combined
