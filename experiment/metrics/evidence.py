"""Evidence from the out-of-fold tables of several models: intervals, paired tests, calibration, curves."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiment.core.environment import source
from experiment.core.errors import UserError, listed
from experiment.core.identity import digest
from experiment.core.tables import SampleTable
from experiment.metrics.bootstrap import Bootstrap, Clusters
from experiment.metrics.calibration import brier_decomposition, reliability, slope_and_intercept
from experiment.metrics.comparison import delong_test, detectable_difference, holm, mcnemar, permutation_test
from experiment.metrics.curves import best_rate, net_benefit
from experiment.metrics.out_of_fold import probabilities
from experiment.metrics.scores import METRICS
from experiment.metrics.weighted import scores

RESAMPLES = 2000
LEVEL = 0.95
TESTED = ("balanced_accuracy", "auroc")  # metrics that models are compared in; each further one would cost power under Holm
THRESHOLDS = np.linspace(0.01, 0.99, 99)
FIXED = 0.9  # sensitivity or specificity at which the other one is reported

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """Out-of-fold predictions of several models for the same images."""

    target: NDArray[np.int64]  # class indices, (N,)
    p: Mapping[str, Floats]  # probabilities per repeat, (R, N, K), by model title
    positive: int  # index of the positive class
    clusters: Clusters  # patients
    grouped: bool  # whether the data set names patients; otherwise each image counts as one
    sample_id: NDArray[np.object_]  # identifiers, (N,)
    group: NDArray[np.object_]  # patient of each image, (N,)

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame], samples: SampleTable) -> "Cohort":
        """Build the cohort from out-of-fold tables of the same samples.

        Raises:
            UserError: the tables, or the repeats of one, differ in their samples or in the number of repeats.
        """
        first = next(iter(tables))
        sample_ids = set(tables[first]["sample_id"])
        for title, table in tables.items():
            for repeat, predicted in table.groupby("repeat"):
                if different := sample_ids ^ set(predicted["sample_id"]):
                    raise UserError(
                        f"{title} (repeat {repeat}) does not predict the same images as {first}: {listed(sorted(different))}."
                    )
        rows = samples.rows.loc[samples.rows["sample_id"].isin(sample_ids)]
        ids = rows["sample_id"].to_numpy(dtype=object)
        target, group = rows["target"].to_numpy(dtype=np.int64), rows["group"].to_numpy(dtype=object)
        p = {}
        for title, table in tables.items():
            repeats = [repeat.set_index("sample_id").loc[ids] for _, repeat in table.groupby("repeat", sort=True)]
            p[title] = np.stack([probabilities(repeat, samples.classes) for repeat in repeats])
        if len(set(map(len, p.values()))) > 1:
            counts = ", ".join(f"{title} {len(by_repeat)}" for title, by_repeat in p.items())
            raise UserError(f"the runs have different numbers of repeats ({counts}); compare runs of the same folds.")
        return cls(target, p, samples.positive_index, Clusters.of(target, group), samples.grouped, ids, group)

    @property
    def is_positive(self) -> NDArray[np.bool_]:
        """Whether each image is of the positive class, (N,)."""
        return np.asarray(self.target == self.positive)

    def of_positive(self, title: str) -> Floats:
        """Return the probability of the positive class, averaged over repeats, (N,)."""
        mean: Floats = self.p[title][:, :, self.positive].mean(axis=0)
        return mean

    def digest(self, title: str) -> str:
        """Return the digest of everything that decides the bootstrap of a model: predictions, patients, code."""
        arrays = (self.target, self.p[title], self.clusters.of_row, self.clusters.stratum)
        contents = [[array.shape, hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()] for array in arrays]
        return digest([source(), RESAMPLES, self.positive, contents])

    def bootstrap(self, title: str, stored: Path | None = None) -> Bootstrap:
        """Resample all metrics of a model by patient, or read them from `stored` if it holds those of the same predictions."""
        if stored is not None and (known := Bootstrap.load(stored, self.clusters, self.digest(title))) is not None:
            return known

        def statistic(weight: Floats) -> dict[str, Floats]:
            repeats = [scores(self.target, p, self.positive, weight) for p in self.p[title]]
            return {name: np.mean([repeat[name] for repeat in repeats], axis=0) for name in repeats[0]}

        return Bootstrap.run(statistic, self.clusters, RESAMPLES)


def evidence(cohort: Cohort, stored: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Compute everything that a report states about the models, as plain numbers.

    `stored` files, by title, may hold the bootstraps of models; missing or outdated ones are computed.

    Returns:
        ``models`` (per model: ``metrics`` with value, low, high; ``calibration``; ``operating``; ``curves``), ``pairs``
        (paired comparisons of every two models, p-values adjusted by Holm over all of them), ``prevalence`` and ``method``.
    """
    resampled = {title: cohort.bootstrap(title, (stored or {}).get(title)) for title in cohort.p}
    return {
        "models": {title: {"metrics": intervals(boot), **_of_positive(cohort, title)} for title, boot in resampled.items()},
        "pairs": _pairs(cohort, resampled),
        "prevalence": float(cohort.is_positive.mean()),
        "method": {
            "interval": f"{LEVEL:.0%} BCa bootstrap of {'patients' if cohort.grouped else 'images'}",
            "resamples": RESAMPLES,
            "clusters": cohort.clusters.count,
            "images": len(cohort.target),
            "test": f"permutation within {'patients' if cohort.grouped else 'images'}, two-sided, Holm-adjusted",
        },
    }


def intervals(boot: Bootstrap) -> dict[str, dict[str, float]]:
    """Return ``value``, ``low`` and ``high`` of each metric."""
    ends = {name: boot.interval(name, LEVEL) for name in METRICS}
    return {name: {"value": boot.value[name], "low": low, "high": high} for name, (low, high) in ends.items()}


def _pairs(cohort: Cohort, resampled: Mapping[str, Bootstrap]) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(cohort.p, 2):
        patient = cohort.clusters.of_row
        p_values = permutation_test(cohort.target, cohort.p[first], cohort.p[second], cohort.positive, patient, RESAMPLES)
        a, b = resampled[first], resampled[second]
        for metric in TESTED:
            difference = Bootstrap(
                cohort.clusters,
                {metric: a.value[metric] - b.value[metric]},
                {metric: a.resampled[metric] - b.resampled[metric]},
                {metric: a.left_out[metric] - b.left_out[metric]} if a.left_out else {},
            )
            low, high = difference.interval(metric, LEVEL)
            pairs.append(
                {
                    "first": first, "second": second, "metric": metric,
                    "difference": difference.value[metric], "low": low, "high": high, "p": p_values[metric],
                    "detectable": detectable_difference(float(np.nanstd(difference.resampled[metric], ddof=1))),
                    **_second_opinion(cohort, first, second, metric),
                }
            )  # fmt: skip
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    return pairs


def _second_opinion(cohort: Cohort, first: str, second: str, metric: str) -> dict[str, float]:
    """Compute the classical test of the same question: DeLong for AUROC, McNemar where images are independent."""
    if metric == "auroc" and len(next(iter(cohort.p.values()))[0][0]) == 2:
        score = np.stack([cohort.of_positive(first), cohort.of_positive(second)], axis=1)
        return {"delong": delong_test(cohort.is_positive, score, cohort.clusters.of_row)}
    if metric == "balanced_accuracy" and not cohort.grouped:
        right = [cohort.p[title].mean(axis=0).argmax(axis=1) == cohort.target for title in (first, second)]
        return {"mcnemar": mcnemar(*right)}
    return {}


def _of_positive(cohort: Cohort, title: str) -> dict[str, Any]:
    """Compute calibration, operating points and curves of the positive class against the rest."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    truth, p = cohort.is_positive, cohort.of_positive(title)
    bins = reliability(truth, p)
    slope, intercept = slope_and_intercept(truth, p)
    fall_out, recall, _ = roc_curve(truth, p)
    precision, recall_of_pr, _ = precision_recall_curve(truth, p, drop_intermediate=True)
    return {
        "calibration": {
            "ece": bins.error, "slope": slope, "intercept": intercept, **brier_decomposition(truth, p),
            "predicted": bins.predicted.tolist(), "observed": bins.observed.tolist(), "count": bins.count.tolist(),
        },
        "operating": {
            f"sensitivity_at_specificity_{FIXED}": best_rate(truth, p, "specificity", FIXED),
            f"specificity_at_sensitivity_{FIXED}": best_rate(truth, p, "sensitivity", FIXED),
        },
        "curves": {
            "roc": {"x": fall_out.tolist(), "y": recall.tolist()},
            "pr": {"x": recall_of_pr.tolist(), "y": precision.tolist()},
            "decision": {
                "x": THRESHOLDS.tolist(),
                "y": net_benefit(truth, p, THRESHOLDS).tolist(),
                "all": net_benefit(truth, np.ones(len(truth)), THRESHOLDS).tolist(),
            },
        },
    }  # fmt: skip


def pair_of(evidence: Mapping[str, Any], first: str, second: str, metric: str) -> dict[str, Any]:
    """Return the comparison of two models in a metric, as `first` minus `second`."""
    for pair in evidence["pairs"]:
        if pair["metric"] == metric and {pair["first"], pair["second"]} == {first, second}:
            return seen_from(pair, first)
    raise KeyError(f"{first} and {second} were not compared on {metric}")


def seen_from(pair: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Return a comparison as the difference of the model `title` minus the other."""
    if pair["first"] == title:
        return dict(pair)
    return {
        **pair, "first": title, "second": pair["first"],
        "difference": -pair["difference"], "low": -pair["high"], "high": -pair["low"],
    }  # fmt: skip


def hardest(cohort: Cohort, count: int) -> list[dict[str, Any]]:
    """Return up to `count` images that every model gets wrong, the most confidently wrong first.

    Each is a mapping of ``sample_id``, ``group``, ``target`` and ``p``, the probability of the target by model title.
    """
    rows = np.arange(len(cohort.target))
    own = {title: p.mean(axis=0)[rows, cohort.target] for title, p in cohort.p.items()}
    wrong = np.all([p.mean(axis=0).argmax(axis=1) != cohort.target for p in cohort.p.values()], axis=0)
    order = np.argsort(np.mean(list(own.values()), axis=0), kind="stable")
    return [
        {
            "sample_id": str(cohort.sample_id[row]),
            "group": str(cohort.group[row]),
            "target": int(cohort.target[row]),
            "p": {title: float(p[row]) for title, p in own.items()},
        }
        for row in order
        if wrong[row]
    ][:count]
