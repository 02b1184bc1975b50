"""How much too good a choice looks when it is made and reported on the same rows.

The honest path learns in each fold on val rows, by models that did not see them, and is reported on test rows. The naive
path, common in papers, learns on all test predictions and reports on these. Naive less honest is the optimism gap (Efron
1986). On labels that mean nothing the honest path is at chance and the gap is all optimism; on real ones part of it is
that the naive path learns from more rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_curve
from torch import Tensor

from experiment.class_weights import balanced
from experiment.evaluation.combining import COMBINERS, NEED_VAL, Combiner
from experiment.evaluation.metrics import score


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


Chooser = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""From members' predictions (M, N, K) and targets (N,) to what turns such predictions into one, (N, K)."""


def gaps(folds: Sequence[FoldTables], positive: int) -> list[dict[str, float | str]]:
    """For each way to choose: ``choice``, ``metric``, ``honest``, ``naive`` and ``gap``. Two classes or more."""
    if not folds or any(len(fold.val) == 0 or not len(fold.val_target) for fold in folds):
        return []
    everyone, target = torch.cat([fold.test for fold in folds], dim=1), torch.cat([fold.test_target for fold in folds])
    out: list[dict[str, float | str]] = []
    for choice, (choose, metric) in choosers(positive, everyone.shape[-1]).items():
        honest = torch.cat([choose(fold.val, fold.val_target)(fold.test) for fold in folds])
        naive = choose(everyone, target)(everyone)
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


def fitted(name: str, p: Tensor, target: Tensor) -> Combiner:
    """A combiner that has learned from predictions (M, N, K), classes having the same say."""
    combiner = COMBINERS[name](len(p), p.shape[-1])
    combiner.fit(p, target, balanced(target, p.shape[-1]))
    return combiner


def _learned(name: str) -> Chooser:
    def choose(p: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
        return _without_gradient(fitted(name, p, target))

    return choose


def _best(p: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
    ways: list[Callable[[Tensor], Tensor]] = [_without_gradient(fitted(name, p, target)) for name in COMBINERS]
    ways += [lambda p, member=member: p[member] for member in range(len(p))]  # type: ignore[misc]
    scored = [score(target.numpy(), way(p).numpy(), positive=0)["auroc"] for way in ways]  # of two classes either has the same
    return ways[int(np.nanargmax(scored))] if np.isfinite(scored).any() else ways[0]


def _threshold(positive: int) -> Chooser:
    """The threshold with the best balanced accuracy, put into the probabilities as a shift, so that ½ decides as it does."""

    def choose(p: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
        pooled = COMBINERS["logit_mean"](len(p), 2)
        truth = (target == positive).numpy()
        score = _log_odds(pooled(p), positive)
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


def _without_gradient(combiner: Combiner) -> Callable[[Tensor], Tensor]:
    def combined(p: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = combiner(p)
            return out

    return combined
