"""Complete a run once all its folds are finished: the table of predictions, and metrics with intervals."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from experiment.core.cost import cost
from experiment.core.folds import Splits
from experiment.core.tables import SampleTable
from experiment.metrics.evidence import Cohort, intervals
from experiment.metrics.out_of_fold import out_of_fold
from experiment.metrics.scores import summarise
from experiment.run.recipe import Recipe
from experiment.store.files import replacing, write_text
from experiment.store.results import Result
from experiment.store.runs import BOOTSTRAP, SAMPLES, Run, write_samples


def merge(run: Run, recipe: Recipe, splits: Splits, samples: SampleTable, config: Mapping[str, Any]) -> Result:
    """Score the finished folds; if all are, complete the run. A run that is complete is only read."""
    total = len(list(splits))
    folds = [(split, fold) for split in splits if (fold := run.fold(split)) is not None]
    if len(folds) == total and (run.path / "metrics.json").exists():
        return Result(recipe.title, run, len(folds), total, run.scores, run.cost)
    oof = out_of_fold(folds, samples)
    by_fold = [fold.marker.get("scores", {}).get("test") for _, fold in folds]
    scores = summarise(oof, samples.classes, samples.positive, by_fold if all(by_fold) else None)
    spent = cost(fold.marker for _, fold in folds)
    result = Result(recipe.title, run, len(folds), total, scores, spent)
    if result.complete:
        cohort = Cohort.of({recipe.title: oof}, samples)
        bootstrap = cohort.bootstrap(recipe.title)
        for name, interval in intervals(bootstrap).items():
            scores[name] |= {"low": interval["low"], "high": interval["high"]}
        own = {**config, "model": {"name": recipe.name, **recipe.module}, "trainer": recipe.trainer}
        write_text(run.path / "config.yaml", yaml.safe_dump(own, sort_keys=False))
        with replacing(run.path / SAMPLES) as path:
            write_samples(samples, path)
        with replacing(run.path / "oof.parquet") as path:
            oof.to_parquet(path, index=False)
        with replacing(run.path / BOOTSTRAP) as path:  # the report needs the same resamples
            bootstrap.save(path, cohort.digest(recipe.title))
        # Last: a run with this file is complete.
        write_text(run.path / "metrics.json", json.dumps({**scores, "cost": spent}, indent=2))
    return result
