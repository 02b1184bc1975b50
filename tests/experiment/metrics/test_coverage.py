"""Do the intervals cover and the tests hold their level on cohorts whose truth is known? Takes two minutes.

PYTHONPATH=. python tests/experiment/metrics/test_coverage.py [cohorts] prints the numbers.
"""

import sys

import numpy as np
import pytest

from experiment.metrics.bootstrap import Bootstrap, Clusters
from experiment.metrics.comparison import permutation_test
from experiment.metrics.weighted import decision_scores, ranking_scores, scores

PATIENTS, MOST = 60, 9
COVERED = ("balanced_accuracy", "auroc", "brier")
TESTED = ("balanced_accuracy", "auroc")


def cohort(rng, patients=PATIENTS):
    """Targets and patients (N,), and probabilities of two equally good models (2, N, 2).

    One to nine images a patient; half of the patients show both classes. Either model knows the truth, is misled by what is
    odd about a patient, partly in the same way as the other, and errs on each image. Neither is distinguished in law.
    """
    patient = np.repeat(np.arange(patients), rng.integers(1, MOST + 1, patients))
    mixed, lesion = rng.random(patients) < 0.5, rng.random(patients) < 0.5
    target = np.where(mixed[patient], rng.random(len(patient)) < 0.5, lesion[patient]).astype(np.int64)
    shared, own, noise = rng.normal(size=patients), rng.normal(size=(2, patients)), rng.normal(size=(2, len(patient)))
    # variances 0.25 + 0.25 + 0.5 = 1: two images of a patient correlate by 0.5
    logit = 1.6 * (target - 0.5) + 0.5 * shared[patient] + 0.5 * own[:, patient] + np.sqrt(0.5) * noise
    present = 1 / (1 + np.exp(-logit))
    return target, patient, np.stack([1 - present, present], axis=-1)


def measured(cohorts=500, resamples=600, permutations=400, seed=0):
    """Share of cohorts whose 95 % interval covers the truth, and in which equal models differ at 5 %.

    Returns:
        (quantity, what counts as independent) to the share.
    """
    rng = np.random.default_rng(seed)
    target, _, (p, _) = cohort(rng, 100_000)
    truth = {name: value[0] for name, value in scores(target, p, 1, np.ones((1, len(target)))).items()}
    found = {}
    for number in range(cohorts):
        target, patient, (p, q) = cohort(rng)

        def statistic(weight, target=target, p=p):
            return decision_scores(target, p, 1, weight) | {"auroc": ranking_scores(target, p, 1, weight)["auroc"]}

        for unit, of_row in (("patients", patient), ("images", np.arange(len(patient)))):
            run = Bootstrap.run(statistic, Clusters.of(target, of_row.astype(object)), resamples, number)
            for name in COVERED:
                low, high = run.interval(name)
                found.setdefault((f"{name} covered", unit), []).append(low <= truth[name] <= high)
            tested = permutation_test(target, p[None], q[None], 1, of_row, permutations, number)
            for name in TESTED:
                found.setdefault((f"{name} differs", unit), []).append(tested[name] <= 0.05)
    return {key: float(np.mean(hits)) for key, hits in found.items()}


@pytest.fixture(scope="module")
def shares():
    return measured()


# The standard error of a share of 500 is sqrt(0.95 · 0.05 / 500) = 0.0097.
@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
def test_intervals_by_patient_cover_and_those_by_image_do_not(shares, name):
    assert 0.93 <= shares[f"{name} covered", "patients"] <= 0.97
    assert shares[f"{name} covered", "images"] < 0.93


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTED)
def test_swaps_by_patient_hold_the_level_and_those_by_image_do_not(shares, name):
    assert 0.03 <= shares[f"{name} differs", "patients"] <= 0.07
    assert shares[f"{name} differs", "images"] > 0.07


if __name__ == "__main__":
    for (quantity, unit), share in measured(*map(int, sys.argv[1:])).items():
        print(f"{quantity:26}{unit:10}{share:.3f}")
