"""Text of the report's first screen: the best model, its uncertainty, its lead over the next one, and warnings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiment.core.tables import LARGE_SHARE, Greys, largest_group
from experiment.metrics.evidence import TESTED, Cohort, pair_of

FEW_PATIENTS = 20  # with fewer, a cluster bootstrap has little to draw from
RARE_SHARE = 0.2  # share of a class, below which accuracy and probabilities mislead
MISCALIBRATED = 0.05  # expected calibration error, above which to warn
UNSTEADY = 0.05  # standard deviation of the AUROC over folds, above which to warn
SHIFTED = 0.02  # difference of the folds' mean AUROC and the pooled AUROC, above which to warn
STILL_FALLING = 0.05  # relative fall of the loss in the last epoch, above which training stopped too early
LITTLE_USED = 0.25  # median share of the range of grey values that an image uses, below which to warn
SURE = 0.05  # p-value, below which a difference is significant
ALL = 0.95  # share of the images of every true class that are called one class, from which a model calls all images that
BETTER: Literal["better"] = "better"

Doubts = Mapping[str, Sequence[str]]
"""Reasons by title of the model."""


def ranked(evidence: Mapping[str, Any]) -> list[str]:
    """Return the titles, best model first, by the first of the metrics that models are compared in."""

    def value(title: str) -> float:
        metric = float(evidence["models"][title]["metrics"][TESTED[0]]["value"])
        return metric if math.isfinite(metric) else -math.inf

    return sorted(evidence["models"], key=value, reverse=True)


def headline(evidence: Mapping[str, Any], doubts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the answer in one or two sentences.

    A model is called the best if it is better than each other in the first metric, and has none of the `doubts`.
    """
    best, *others = ranked(evidence)
    metrics = evidence["models"][best]["metrics"]
    values = [f"{METRIC_WORDS[name]} {_with_interval(metrics[name])}" for name in TESTED]
    rank = ""
    if others:
        shown = not doubts.get(best) and all(verdict(pair_of(evidence, best, other, TESTED[0])) == BETTER for other in others)
        rank = f"{'Best' if shown else 'Highest, but not shown to be best,'} of {len(others) + 1} models: "
    sentences = [f"{rank}{best}, {' and '.join(values)}."]
    if others:
        sentences.append(_against_next(evidence, best, others[0]))
    return sentences


METRIC_WORDS = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


def _with_interval(m: Mapping[str, float]) -> str:
    return f"{number(m['value'])} (95 % interval {number(m['low'])} to {number(m['high'])})"


def number(value: Any, form: str = "z.3f") -> str:
    """Format a number for a reader; a dash where it is missing or undefined."""
    return format(value, form).replace("-", "−") if isinstance(value, float | int) and math.isfinite(value) else "–"


def verdict(pair: Mapping[str, Any]) -> Literal["better", "worse", "not told apart"]:
    """Return what a comparison shows about its first model."""
    if not pair["p_holm"] < SURE:  # or undefined
        return "not told apart"
    return BETTER if pair["difference"] > 0 else "worse"


def _against_next(evidence: Mapping[str, Any], best: str, second: str) -> str:
    verdicts = []
    for metric in TESTED:
        pair = pair_of(evidence, best, second, metric)
        low, high = (number(pair[end], "+z.3f") for end in ("low", "high"))
        verdicts.append(
            f"{verdict(pair)} in {METRIC_WORDS[metric]} ({number(pair['difference'], '+z.3f')}, 95 % interval "
            f"{low} to {high}, p = {number(pair['p_holm'], '.2g')} after Holm)"
        )
    together = f"each interval is of one comparison, p is adjusted for all {len(evidence['pairs'])}"
    return f"Against the next, {second}: {' and '.join(verdicts)}; {together}."


def doubts(evidence: Mapping[str, Any], confusion: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]) -> Doubts:
    """Return by title why a model may have learned nothing: it is no better than chance, or calls everything one class.

    `confusion` holds counts by title, true classes in rows and decided ones in columns, in the order of `classes`.
    """
    chance = {"balanced_accuracy": 1 / len(classes), "auroc": 0.5}
    found = {}
    for title in ranked(evidence):
        metrics = evidence["models"][title]["metrics"]
        by_chance = [
            f"{METRIC_WORDS[name]} {_with_interval(metrics[name])}, chance {number(chance[name])}"
            for name in TESTED
            if metrics[name]["low"] <= chance[name]
        ]
        reasons = [f"{title}: not shown to be better than chance: {' and '.join(by_chance)}."] if by_chance else []
        counts = np.asarray(confusion[title], dtype=float)
        least = np.min(counts / counts.sum(axis=1, keepdims=True).clip(1), axis=0)  # of each class, decided in any true one
        if least.max() >= ALL:
            share = counts[:, least.argmax()].sum() / counts.sum()
            reasons.append(f"{title}: calls {share:.0%} of all images {classes[least.argmax()]}, whatever they show.")
        found[title] = reasons
    return found


def warnings(
    cohort: Cohort,
    evidence: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, pd.DataFrame]],
    gaps: Sequence[Mapping[str, Any]],
    built_in: bool,
    doubted: Doubts,
    greys: Greys | None = None,
) -> list[str]:
    """Return the reasons to distrust these numbers, most serious first, each with the number behind it.

    `evidence` and `gaps` are results of the functions of that name, `doubted` that of `doubts`; `scores` (by `summarise`) and
    `curves` are by title.
    """
    reasons: list[str] = []
    if built_in:
        reasons.append("These are built-in synthetic images: the numbers say nothing about real ones.")
    if not cohort.grouped:
        reasons.append(
            "The data set names no patients, so each image counts as one: images of one patient may be on both sides of a "
            "split, scores may be too high, and the intervals are too narrow if images of a patient resemble each other."
        )
    elif cohort.clusters.count < FEW_PATIENTS:
        reasons.append(
            f"Only {cohort.clusters.count} patients (groups): intervals rest on few independent units, and the smallest "
            f"possible p-value is {2.0 ** (1 - cohort.clusters.count):.2g}."
        )
    if cohort.grouped and (largest := largest_group(cohort.group))[1] > LARGE_SHARE:
        reasons.append(f"Group {largest[0]} has {largest[1]:.0%} of the images: the scores are mostly about that patient.")
    if greys is not None and greys.used < LITTLE_USED:
        seen = (
            f"values {greys.low} to {greys.high} were scaled to all of it, which images to come may exceed"
            if greys.scaled
            else "models saw them with little contrast"
        )
        reasons.append(f"Half of the images use at most {greys.used:.0%} of the range of grey values of their files: {seen}.")
    share = float(cohort.is_positive.mean())
    if min(share, float((~cohort.is_positive).mean())) < RARE_SHARE:
        reasons.append(
            f"One class is rare (positives {share:.0%}): read balanced accuracy and AUPRC, not accuracy; models with balanced "
            "class weights give probabilities for equally frequent classes, which are too high here."
        )
    for title in ranked(evidence):
        reasons += doubted.get(title, [])
        reasons += _of_model(title, evidence["models"][title], scores[title], curves.get(title, {}))
    if len(evidence["models"]) > 1:
        undetected = np.fmax.reduce([p["detectable"] for p in evidence["pairs"] if p["metric"] == TESTED[0]])
        reasons.append(
            f"The highest of {len(evidence['models'])} models was chosen on the rows it is reported on, which flatters it; "
            f"differences in balanced accuracy below {number(undetected)} would often go undetected with this many patients."
        )
    large = [gap for gap in gaps if gap["gap"] > 0.01]
    if large:
        worst = max(large, key=lambda gap: gap["gap"])
        reasons.append(
            f"Choosing the {worst['choice']} on the reported rows would have claimed {worst['naive']:.3f} instead of "
            f"{worst['honest']:.3f}; published numbers that were obtained that way are not comparable."
        )
    return reasons


def _of_model(
    title: str, model: Mapping[str, Any], scores: Mapping[str, Any], curves: Mapping[str, pd.DataFrame]
) -> list[str]:
    reasons = []
    auroc = scores["auroc"]
    if auroc["sd"] > UNSTEADY:
        reasons.append(f"{title}: unsteady over folds (standard deviation of the AUROC {auroc['sd']:.3f}).")
    if auroc["mean"] - auroc["value"] > SHIFTED:
        reasons.append(
            f"{title}: the AUROC over all rows ({auroc['value']:.3f}) is below the mean of the folds ({auroc['mean']:.3f}): "
            "scores of different folds or patients are not on one scale."
        )
    if model["calibration"]["ece"] > MISCALIBRATED:
        reasons.append(f"{title}: probabilities deviate by {model['calibration']['ece']:.2f} on average (ECE).")
    if (fall := still_falling(curves)) is not None and fall > STILL_FALLING:
        reasons.append(
            f"{title}: probably under-trained: the val loss still fell by {fall:.0%} in the last epoch. "
            "Raise trainer.max_epochs before calling it a baseline."
        )
    return reasons


def still_falling(curves: Mapping[str, pd.DataFrame]) -> float | None:
    """Return the relative fall of the val loss (or else the fit loss) in the last epoch, averaged over folds.

    None if no fold has two epochs.
    """
    falls = []
    for frame in curves.values():
        column = "val/loss" if "val/loss" in frame and frame["val/loss"].notna().sum() > 1 else "train/loss"
        losses = frame[column].dropna().to_numpy()
        if len(losses) > 1:
            falls.append(1 - losses[-1] / losses[-2])
    return float(np.mean(falls)) if falls else None
