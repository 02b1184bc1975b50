"""Savings and costs of a race over folds: an exhaustive sweep, replayed in many orders with and without racing.

python train.py -m sweep.name=all model=resnet_svm model.svm.C=0.01,0.1,1,10,100 …     an exhaustive sweep first
python -m benchmarks.racing runs/sweeps/all
"""

import argparse
from pathlib import Path

import numpy as np

from experiment.sweep.ledger import Ledger
from experiment.sweep.race import Folds, chance_to_win

ORDERS = 200


def replay(trials: list[Folds], chance: float) -> tuple[float, float]:
    """Race these trials in order; return the best mean over folds of complete trials, and the share of folds evaluated."""
    k = len(trials[0])
    complete: list[Folds] = []
    evaluated = 0
    for trial in trials:
        names = list(trial)
        for m in range(1, k + 1):
            evaluated += 1
            if m < k and chance_to_win({name: trial[name] for name in names[:m]}, complete, k) < chance:
                break
        else:
            complete.append(trial)
    return max(float(np.mean(list(trial.values()))) for trial in complete), evaluated / (k * len(trials))


def main() -> None:
    """Print a table by chance: share of folds evaluated, and the loss against the best trial of the sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="folder of an exhaustive sweep")
    ledger = Ledger.at(parser.parse_args().sweep)
    sign = 1 if ledger.objective[0].larger_is_better else -1
    trials = [{name: sign * values[0] for name, values in t.folds.items()} for t in ledger.trials() if t.state == "complete"]
    best = max(float(np.mean(list(trial.values()))) for trial in trials)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(trials)) for _ in range(ORDERS)]
    print(f"{len(trials)} trials, {ORDERS} orders; {ledger.objective[0].name}")
    print("| race | folds evaluated, mean (worst) | points below the best, mean (95th percentile, worst) |\n|---|---|---|")
    for chance in (0.0, 0.01, 0.05, 0.1, 0.2):
        best_of_race, share = np.array([replay([trials[i] for i in order], chance) for order in orders]).T
        lost = 100 * (best - best_of_race)
        shares, lacks = f"{share.mean():.0%} ({share.max():.0%})", f"{np.quantile(lost, 0.95):.2f}, {lost.max():.2f}"
        print(f"| {chance} | {shares} | {lost.mean():.2f} ({lacks}) |")


if __name__ == "__main__":
    main()
