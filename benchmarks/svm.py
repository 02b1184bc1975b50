"""What fitting the SVM costs by the number of rows, and how long scikit-learn takes for the same work.

    python -m benchmarks.svm                                       # all parts
    python -m benchmarks.svm cost --rows 1000 5000 --kernel linear # seconds and memory of `fit_svm`
    python -m benchmarks.svm solvers --rows 5000 20000             # many rows, against scikit-learn's Nystroem and LinearSVC
    python -m benchmarks.svm search                                # few rows, against scikit-learn's GridSearchCV

Features are random, of 40 factors and noise, with classes that no plane separates; settings are those of
``conf/model/resnet_svm.yaml``. Every row is scored, as with ``features_from=pretrained``, which is the longest search.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn import kernel_approximation
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from lightning_modules.svm import fit_svm, inner_folds
from lightning_modules.svm_settings import SVMSettings
from lightning_modules.svm_solvers import solvers

CONF = Path(__file__).resolve().parents[1] / "conf" / "model" / "resnet_svm.yaml"
ROWS = {"cost": (1_000, 5_000, 20_000, 100_000), "solvers": (5_000, 20_000)}
FEATURES = 960  # ResNet-18, four layers, one pooling
FACTORS = 40
IN_GROUP = 3  # rows
SEARCHED = 910  # rows of the set that docs/real-images.md quotes
GRID = {"C": (0.1, 1.0, 10.0, 100.0), "gamma": (0.0625, 0.25, 1.0, 4.0)}
GAMMA = 0.25  # the one width for which solvers are compared
FOLDS = 5

Result = TypeVar("Result")
Data = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.object_]]


def structured(rows: int, features: int, seed: int = 0) -> Data:
    """Return features (N, F), two classes that no plane separates, and groups."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, FACTORS)).astype(np.float32)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    x += factors @ rng.normal(size=(FACTORS, features)).astype(np.float32)
    signal = factors[:, 0] + factors[:, 1] ** 2 - 1 + factors[:, 2] * factors[:, 3]
    target = (signal + 0.5 * rng.normal(size=rows) > 0).astype(np.int64)
    return x, target, np.array([f"g{row // IN_GROUP}" for row in range(rows)], dtype=object)


def settings_of(kernel: str) -> SVMSettings:
    """Return the settings that ship, for this kernel."""
    return SVMSettings(**{**yaml.safe_load(CONF.read_text())["svm"], "kernel": kernel})


def cost(rows: int, features: int, kernel: str) -> tuple[str, float, float]:
    """Return solver, seconds and peak memory in GiB above that of the imports; needs a fresh process."""
    before = _peak()
    x, target, group = structured(rows, features)
    began = time.perf_counter()
    svm = fit_svm(x, target, group, np.ones(rows, dtype=bool), 2, settings_of(kernel), seed=0)
    return svm.solver, time.perf_counter() - began, _peak() - before


def held_out(rows: int, features: int, kernel: str, sklearn: bool) -> tuple[float, float, float]:
    """Fit every C on every inner fold, for one gamma, by this project's solver or by scikit-learn's; needs a fresh process.

    Returns:
        Seconds, peak memory in GiB above that of the imports, and the AUROC of the held-out rows for the best C.
    """
    before = _peak()
    x, target, group = structured(rows, features)
    x -= x.mean(axis=0)
    x /= x.std(axis=0)
    settings = settings_of(kernel)
    folds = inner_folds(target, group, np.ones(rows, dtype=bool), settings.inner_folds, seed=0)
    decisions = np.zeros((len(settings.penalties), rows))
    began = time.perf_counter()
    if sklearn:
        width = kernel_approximation.Nystroem(gamma=GAMMA / features, n_components=settings.nystroem, random_state=0)
        z = width.fit_transform(x) if kernel == "rbf" else x
        for train, test in folds:
            machines = [LinearSVC(C=c, dual=False, class_weight="balanced") for c in settings.penalties]
            decisions[:, test] = [machine.fit(z[train], target[train]).decision_function(z[test]) for machine in machines]
    else:
        solver = solvers(x, replace(settings, exact_max=0), seed=0)(GAMMA / features)
        for train, test in folds:
            decisions[:, test] = solver.path(target == 1, train, test, settings.penalties)
    seconds = time.perf_counter() - began
    return seconds, _peak() - before, max(float(roc_auc_score(target, decided)) for decided in decisions)


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def _fresh(work: Callable[..., Result], *arguments: object) -> Result:
    """Run in a fresh process, whose peak memory is that of this work."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(work, *arguments).result()


def search(features: int) -> tuple[float, float, int]:
    """Return seconds of this search and of GridSearchCV's over all outer folds, and in how many both chose the same point."""
    x, target, group = structured(SEARCHED, features)
    settings = replace(settings_of("rbf"), **GRID, inner_folds=FOLDS)  # type: ignore[arg-type]
    ours = theirs = 0.0
    same = 0
    outer = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for fold, (train, _) in enumerate(outer.split(x, target, group)):
        rows = (x[train], target[train], group[train])
        began = time.perf_counter()
        svm = fit_svm(*rows, np.ones(len(train), dtype=bool), 2, settings, seed=fold)
        ours += time.perf_counter() - began

        began = time.perf_counter()
        inner = inner_folds(rows[1], rows[2], np.ones(len(train), dtype=bool), FOLDS, seed=fold)
        points = {"svc__C": GRID["C"], "svc__gamma": [gamma / features for gamma in GRID["gamma"]]}
        found = GridSearchCV(
            make_pipeline(StandardScaler(), SVC(class_weight="balanced")), points, scoring="roc_auc", cv=inner
        ).fit(rows[0], rows[1])
        theirs += time.perf_counter() - began
        best = found.best_params_
        same += (best["svc__C"], best["svc__gamma"]) == (svm.chosen["C"], svm.chosen["gamma"] / features)
    return ours, theirs, same


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("all", "cost", "solvers", "search"), default="all")
    parser.add_argument("--rows", type=int, nargs="+", help="numbers of rows, for cost and solvers")
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--kernel", choices=("rbf", "linear"), default="rbf", help="for cost and solvers")
    asked = parser.parse_args(arguments)
    parts = ("cost", "solvers", "search") if asked.part == "all" else (asked.part,)
    if "cost" in parts:
        print(f"| rows × {asked.features} | solver | seconds | peak memory, GiB | of it features |")
        print("|---|---|---|---|---|")
        for rows in asked.rows or ROWS["cost"]:
            solver, seconds, peak = _fresh(cost, rows, asked.features, asked.kernel)
            size = rows * asked.features * 4 / 2**30
            print(f"| {rows:,} | {solver} | {seconds:.1f} | {peak:.2f} | {size:.2f} |", flush=True)
    if "solvers" in parts:
        print(f"\n| rows × {asked.features}, {asked.kernel} | solver | seconds | peak memory, GiB | AUROC |")
        print("|---|---|---|---|---|")
        for rows in asked.rows or ROWS["solvers"]:
            for solver in ("this project", "scikit-learn"):
                seconds, peak, auroc = _fresh(held_out, rows, asked.features, asked.kernel, solver == "scikit-learn")
                print(f"| {rows:,} | {solver} | {seconds:.1f} | {peak:.2f} | {auroc:.4f} |", flush=True)
    if "search" in parts:
        ours, theirs, same = search(asked.features)
        points = len(GRID["C"]) * len(GRID["gamma"])
        print(f"\n| {points} points × {FOLDS} inner × {FOLDS} outer folds, {SEARCHED} rows | seconds |")
        print("|---|---|")
        print(f"| this search, with calibration | {ours:.1f} |\n| GridSearchCV | {theirs:.1f} |")
        print(f"\n{theirs / ours:.1f} times as fast; the same point in {same} of {FOLDS} outer folds.")


if __name__ == "__main__":
    main()
