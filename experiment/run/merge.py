"""What a complete run holds beside its folds: its table, metrics with intervals, and what it was made from."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from experiment.core.cost import cost
from experiment.core.tables import SampleTable
from experiment.metrics.evidence import Cohort, intervals
from experiment.metrics.out_of_fold import out_of_fold
from experiment.metrics.scores import summarise
from experiment.run.folds import Splits
from experiment.run.recipe import Recipe
from experiment.store.files import replacing, write_text
from experiment.store.results import Result
from experiment.store.runs import SAMPLES, Run, write_samples


def merge(run: Run, recipe: Recipe, splits: Splits, samples: SampleTable, config: Mapping[str, Any]) -> Result:
    """Score the folds that are there; once all are, write what makes the run complete. What is merged is only read."""
    everything = list(splits)
    folds = [(split, fold) for split in everything if (fold := run.fold(split)) is not None]
    if len(folds) == len(everything) and (run.path / "metrics.json").exists():
        return Result(recipe.title, run, len(folds), len(everything), run.scores, run.cost)
    oof = out_of_fold(folds, samples)
    known = [fold.marker.get("scores", {}).get("test") for _, fold in folds]
    scores = summarise(oof, samples.classes, samples.positive, known if all(known) else None)
    spent = cost(fold.marker for _, fold in folds)
    result = Result(recipe.title, run, len(folds), len(everything), scores, spent)
    if result.complete:
        ends = intervals(Cohort.of({recipe.title: oof}, samples).bootstrap(recipe.title))
        for name, interval in ends.items():
            scores[name] |= {"low": interval["low"], "high": interval["high"]}
        own = {**config, "model": {"name": recipe.name, **recipe.module}, "trainer": recipe.trainer}
        write_text(run.path / "config.yaml", yaml.safe_dump(own, sort_keys=False))
        with replacing(run.path / SAMPLES) as path:
            write_samples(samples, path)
        with replacing(run.path / "oof.parquet") as path:
            oof.to_parquet(path, index=False)
        # Last: a run with this file is complete.
        write_text(run.path / "metrics.json", json.dumps({**scores, "cost": spent}, indent=2))
    return result
