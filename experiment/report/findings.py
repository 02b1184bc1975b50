"""The first screen in words: which model is best, how sure that is, whether it beats the next, and what to distrust."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiment.metrics.evidence import TESTED, Cohort, pair_of

FEW_PATIENTS = 20  # below it a cluster bootstrap has little to draw from
RARE_SHARE = 0.2  # share of a class below which accuracy and probabilities mislead
MISCALIBRATED = 0.05  # expected calibration error
UNSTEADY = 0.05  # standard deviation of the AUROC over folds
SHIFTED = 0.02  # how far the pooled AUROC may lie below the folds' mean
STILL_FALLING = 0.05  # relative fall of the loss in the last epoch that says training stopped early
SURE = 0.05  # p-value


def ranked(evidence: Mapping[str, Any]) -> list[str]:
    """Titles from the best model down, by the first metric that models are tested on."""

    def value(title: str) -> float:
        found = float(evidence["models"][title]["metrics"][TESTED[0]]["value"])
        return found if math.isfinite(found) else -math.inf

    return sorted(evidence["models"], key=value, reverse=True)


def headline(evidence: Mapping[str, Any]) -> list[str]:
    """The answer in two or three sentences."""
    best, *others = ranked(evidence)
    metrics = evidence["models"][best]["metrics"]
    told = [f"{METRIC_WORDS[name]} {_with_interval(metrics[name])}" for name in TESTED]
    lines = [f"{'Best of ' + str(len(others) + 1) + ' models: ' if others else ''}{best}, {' and '.join(told)}."]
    if others:
        lines.append(_against_next(evidence, best, others[0]))
    return lines


METRIC_WORDS = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


def _with_interval(m: Mapping[str, float]) -> str:
    return f"{_told(m['value'])} (95 % interval {_told(m['low'])} to {_told(m['high'])})"


def _told(value: float, form: str = ".3f") -> str:
    return format(value, form).replace("-", "−") if math.isfinite(value) else "–"


def _against_next(evidence: Mapping[str, Any], best: str, second: str) -> str:
    told = []
    for metric in TESTED:
        pair = pair_of(evidence, best, second, metric)
        verdict = "better" if pair["p_holm"] < SURE and pair["difference"] > 0 else "not shown to be better"
        told.append(
            f"{verdict} in {METRIC_WORDS[metric]} ({_told(pair['difference'], '+.3f')}, 95 % interval "
            f"{_told(pair['low'], '+.3f')} to {_told(pair['high'], '+.3f')}, p = {_told(pair['p_holm'], '.2g')} after Holm)"
        )
    return f"Against the next, {second}, it is {' and '.join(told)}."


def warnings(
    cohort: Cohort,
    evidence: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, pd.DataFrame]],
    gaps: Sequence[Mapping[str, Any]],
    built_in: bool,
) -> list[str]:
    """What to distrust in these numbers, most serious first. Each sentence names the number that led to it.

    Args:
        cohort: the predictions.
        evidence: as `experiment.metrics.evidence.evidence` gives it.
        scores: title to metrics as `experiment.metrics.scores.summarise` gives them.
        curves: title to epochs of each fold.
        gaps: as `experiment.metrics.optimism.gaps` gives them.
        built_in: the images are the synthetic ones.
    """
    told: list[str] = []
    if built_in:
        told.append("These are built-in synthetic images: the numbers say nothing about real ones.")
    if not cohort.grouped:
        told.append(
            "No patients were given, so each image counts as its own: images of one patient may stand on both sides of a "
            "fold, scores may be too high, and the intervals are too narrow if images of a patient resemble each other."
        )
    elif cohort.clusters.count < FEW_PATIENTS:
        told.append(
            f"Only {cohort.clusters.count} patients (groups): intervals rest on few independent units, and the smallest "
            f"p-value a test can give is {2.0 ** (1 - cohort.clusters.count):.2g}."
        )
    share = float(cohort.is_positive.mean())
    if min(share, float((~cohort.is_positive).mean())) < RARE_SHARE:
        told.append(
            f"One class is rare (positives {share:.0%}): read balanced accuracy and AUPRC, not accuracy; models with balanced "
            "class weights give probabilities for equally frequent classes, which are too high here."
        )
    for title in ranked(evidence):
        told += _of_model(title, evidence["models"][title], scores[title], curves.get(title, {}))
    if len(evidence["models"]) > 1:
        undetected = np.fmax.reduce([p["detectable"] for p in evidence["pairs"] if p["metric"] == TESTED[0]])
        told.append(
            f"The best of {len(evidence['models'])} models was picked on the rows it is reported on, which flatters it; "
            f"differences in balanced accuracy below {_told(undetected)} would often go unnoticed with this many patients."
        )
    large = [gap for gap in gaps if gap["gap"] > 0.01]
    if large:
        worst = max(large, key=lambda gap: gap["gap"])
        told.append(
            f"Choosing the {worst['choice']} on the reported rows would have claimed {worst['naive']:.3f} instead of "
            f"{worst['honest']:.3f}; numbers of other work made that way are not comparable."
        )
    return told


def _of_model(
    title: str, found: Mapping[str, Any], scores: Mapping[str, Any], curves: Mapping[str, pd.DataFrame]
) -> list[str]:
    told = []
    auroc = scores["auroc"]
    if auroc["sd"] > UNSTEADY:
        told.append(f"{title}: unsteady over folds (standard deviation of the AUROC {auroc['sd']:.3f}).")
    if auroc["mean"] - auroc["value"] > SHIFTED:
        told.append(
            f"{title}: the AUROC over all rows ({auroc['value']:.3f}) lies below the mean of the folds ({auroc['mean']:.3f}): "
            "scores of different folds or patients are not on one scale."
        )
    if found["calibration"]["ece"] > MISCALIBRATED:
        told.append(f"{title}: probabilities are off by {found['calibration']['ece']:.2f} on average (ECE).")
    if (fall := still_falling(curves)) is not None and fall > STILL_FALLING:
        told.append(
            f"{title}: probably under-trained; the val loss still fell by {fall:.0%} in the last epoch. "
            "Raise trainer.max_epochs before calling it a baseline."
        )
    return told


def still_falling(curves: Mapping[str, pd.DataFrame]) -> float | None:
    """Relative fall of the val loss (or else the fit loss) in the last epoch, averaged over folds; None if unknown."""
    falls = []
    for frame in curves.values():
        column = "val/loss" if "val/loss" in frame and frame["val/loss"].notna().sum() > 1 else "train/loss"
        losses = frame[column].dropna().to_numpy()
        if len(losses) > 1:
            falls.append(1 - losses[-1] / losses[-2])
    return float(np.mean(falls)) if falls else None
