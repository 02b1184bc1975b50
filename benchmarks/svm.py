"""Cost of fitting the SVM by the number of rows, and its search against scikit-learn's GridSearchCV.

    python -m benchmarks.svm                            # 1,000 to 100,000 rows
    python -m benchmarks.svm --rows 1000 5000 --kernel linear

Features are random, from 40 factors and noise, with classes that no plane separates; the settings are those of
``conf/model/resnet_svm.yaml``. Every row is scored, as with ``features_from=pretrained``, which is the longest search.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lightning_modules.svm import fit_svm
from lightning_modules.svm_settings import SVMSettings

CONF = Path(__file__).resolve().parents[1] / "conf" / "model" / "resnet_svm.yaml"
ROWS = (1_000, 5_000, 20_000, 100_000)
FEATURES = 960  # ResNet-18, four layers, one pooling
FACTORS = 40
IN_GROUP = 3  # rows
SEARCHED = 910  # rows of the set that docs/real-images.md quotes
GRID = {"C": (0.1, 1.0, 10.0, 100.0), "gamma": (0.0625, 0.25, 1.0, 4.0)}
FOLDS = 5

Data = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.object_]]


def structured(rows: int, features: int, seed: int = 0) -> Data:
    """Draw features (N, F), two classes that no plane separates, (N,), and groups, (N,)."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, FACTORS)).astype(np.float32)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    x += factors @ rng.normal(size=(FACTORS, features)).astype(np.float32)
    signal = factors[:, 0] + factors[:, 1] ** 2 - 1 + factors[:, 2] * factors[:, 3]
    target = (signal + 0.5 * rng.normal(size=rows) > 0).astype(np.int64)
    return x, target, np.array([f"g{row // IN_GROUP}" for row in range(rows)], dtype=object)


def settings_of(kernel: str) -> SVMSettings:
    """Return the settings of the config with this kernel."""
    return SVMSettings(**{**yaml.safe_load(CONF.read_text())["svm"], "kernel": kernel})


def cost(rows: int, features: int, kernel: str) -> tuple[str, float, float]:
    """Return solver, seconds and peak memory in GiB without that of the imports; call it in a new process."""
    before = _peak()
    x, target, group = structured(rows, features)
    began = time.perf_counter()
    svm = fit_svm(x, target, group, np.ones(rows, dtype=bool), 2, settings_of(kernel), seed=0)
    return svm.solver, time.perf_counter() - began, _peak() - before


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def search(features: int) -> tuple[float, float, int]:
    """Return the seconds of this search and of GridSearchCV over all outer folds, and the folds with the same best point."""
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
        inner = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=fold)
        points = {"svc__C": GRID["C"], "svc__gamma": [gamma / features for gamma in GRID["gamma"]]}
        reference = GridSearchCV(
            make_pipeline(StandardScaler(), SVC(class_weight="balanced")), points, scoring="roc_auc", cv=inner
        ).fit(rows[0], rows[1], groups=rows[2])
        theirs += time.perf_counter() - began
        best = reference.best_params_
        same += (best["svc__C"], best["svc__gamma"]) == (svm.chosen["C"], svm.chosen["gamma"] / features)
    return ours, theirs, same


def main(arguments: Sequence[str] | None = None) -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="numbers of rows; none leaves this part out")
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--kernel", choices=("rbf", "linear"), default="rbf")
    parser.add_argument("--no-search", action="store_true", help="leave out the comparison with GridSearchCV")
    options = parser.parse_args(arguments)
    if options.rows:
        print(f"| rows × {options.features} | solver | seconds | peak memory, GiB | of it features |")
        print("|---|---|---|---|---|")
    for rows in options.rows:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            solver, seconds, peak = fresh.submit(cost, rows, options.features, options.kernel).result()
        size = rows * options.features * 4 / 2**30
        print(f"| {rows:,} | {solver} | {seconds:.1f} | {peak:.2f} | {size:.2f} |", flush=True)
    if not options.no_search:
        ours, theirs, same = search(options.features)
        points = len(GRID["C"]) * len(GRID["gamma"])
        print(f"\n| {points} points × {FOLDS} inner × {FOLDS} outer folds, {SEARCHED} rows | seconds |")
        print("|---|---|")
        print(f"| this search, with calibration | {ours:.1f} |\n| GridSearchCV | {theirs:.1f} |")
        print(f"\n{theirs / ours:.1f} times as fast; the same point in {same} of {FOLDS} outer folds.")


if __name__ == "__main__":
    main()
