"""Write finished runs to disk without training anything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from experiment.core.folds import FoldScheme
from experiment.core.tables import SampleTable, predictions
from experiment.metrics.scores import scores_by_part, summarise
from experiment.store.runs import IDENTITY, SAMPLES, Run, write_samples


def finished_run(
    path: Path,
    samples: SampleTable,
    skill: float = 1.0,
    seed: int = 0,
    inputs: Mapping[str, Run] | None = None,
    losses: Mapping[str, list[float]] | None = None,
    name: str = "",
    k: int = 3,
    repeats: int = 1,
    val: float = 0.3,
) -> Run:
    """Write a complete run of a model whose logits are `skill` higher for the true class.

    Args:
        path: its folder.
        samples: what it predicts.
        skill: 0 is chance.
        seed: seed of the predictions; all runs share their folds.
        inputs: runs that it is built on.
        losses: columns of each fold's curves, one value per epoch.
        name: name of the model; by default that of the folder.
        k: folds.
        repeats: repeats of the cross-validation.
        val: share of val rows.
    """
    scheme: dict[str, Any] = {"k": k, "val": val, "repeats": repeats, "grouped": samples.grouped}
    splits = FoldScheme(**scheme).split(samples, seed=0)
    rng, number = np.random.default_rng(seed), dict(zip(samples.sample_id, samples.target, strict=True))

    def predicted(ids: tuple[str, ...]) -> pd.DataFrame:
        truth = np.eye(len(samples.classes))[[number[sample] for sample in ids]]
        odds = np.exp(rng.normal(size=truth.shape) + skill * truth)
        return predictions(ids, odds / odds.sum(axis=1, keepdims=True), samples.classes)

    tested = []
    for split in splits:
        folder = path / split.name
        folder.mkdir(parents=True)
        test = predicted(split.test)
        parts = [test.assign(part="test")] + ([predicted(split.val).assign(part="val")] if split.val else [])
        pd.concat(parts, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
        names = [samples.classes[number[sample]] for sample in split.test]
        tested.append(test.assign(repeat=split.repeat, fold=split.fold, target=names))
        if losses:
            pd.DataFrame({"epoch": range(len(next(iter(losses.values())))), **losses}).to_csv(
                folder / "history.csv", index=False
            )
        members = {title: f"{run.path.name}/{split.name}" for title, run in (inputs or {}).items()}
        scored = scores_by_part(pd.concat(parts), samples)
        marker = {"target": "some.Net", "inputs": members, "versions": {"torch": "2.12"}, "seconds": 2.0, "scores": scored}
        (folder / "finished.json").write_text(json.dumps(marker))
    oof = pd.concat(tested, ignore_index=True)
    oof.to_parquet(path / "oof.parquet", index=False)
    splits.table.to_parquet(path / "splits.parquet", index=False)
    write_samples(samples, path / SAMPLES)
    model = {"name": name or path.name, "_target_": "some.Net"}
    config = {"data": {"_target_": "some.Data"}, "folds": scheme, "model": model, "trainer": {"max_epochs": 2}, "seed": 0}
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (path / IDENTITY).write_text("{}")
    scores = summarise(oof, samples.classes, samples.positive)
    with_ends = {metric: {**s, "low": s["value"] - 0.1, "high": s["value"] + 0.1} for metric, s in scores.items()}
    (path / "metrics.json").write_text(json.dumps(with_ends))
    return Run.load(path)
