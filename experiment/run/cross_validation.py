"""Cross-validation: in each fold a model comes after its inputs; finished folds are loaded."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning import seed_everything

from experiment.core.build import class_of
from experiment.core.contracts import FoldData, FoldModel, LearnsFromTables
from experiment.core.environment import environment
from experiment.core.errors import UserError
from experiment.core.identity import Record, decisive, digest, kind_of
from experiment.core.seeds import seed_for
from experiment.core.tables import FinishedFold, Split
from experiment.core.timing import recording
from experiment.metrics.out_of_fold import out_of_fold
from experiment.metrics.scores import scores_by_part
from experiment.run.folds import FoldScheme, Splits
from experiment.run.hardware import return_memory
from experiment.run.merge import merge
from experiment.run.recipe import Recipe
from experiment.run.resume import Unfinished
from experiment.run.training import fit, make_callbacks, make_trainer, on_one_device, predict, save
from experiment.store.attempt import attempt
from experiment.store.disk_cache import DiskCache
from experiment.store.lease import Holder, holder
from experiment.store.results import Result
from experiment.store.runs import Run
from experiment.store.shared import store_shared
from experiment.terminal.progress import Progress
from experiment.tracking.trackers import Tracker

POLL = 2.0  # seconds between attempts at folds that other jobs work on

Missing = Sequence[tuple[Recipe, Split]]
Work = Callable[["CrossValidation", Missing], None]


@dataclass(frozen=True)
class CrossValidation:
    """Cross-validation of recipes over the folds of one data set."""

    data: FoldData  # loaded
    splits: Splits  # all folds
    scheme: FoldScheme  # which of them to run now
    config: Mapping[str, Any]  # resolved; stored with each run
    tracker: Tracker
    progress: Progress

    @property
    def root(self) -> Path:
        """Return the folder of all runs."""
        return Path(self.config["paths"]["runs"]).resolve()

    @cached_property
    def _features(self) -> DiskCache | None:
        """Return the cache of networks' features, None without one."""
        paths = self.config["paths"]
        return DiskCache(Path(paths["cache"]) / "network", paths["cache_gb"], "paths.cache_gb") if paths.get("cache") else None

    @cached_property
    def common(self) -> Record:
        """Return what decides the numbers of every model: data, folds, seed."""
        rows = self.data.samples.rows[["sample_id", "target", "group", "digest"]]
        samples = digest([self.data.samples.classes, rows.sort_values("sample_id").to_numpy(dtype=str).tolist()])
        data = {**decisive("data", self.config["data"]), "digest": samples}
        return {"data": data, "folds": self.splits.fingerprint, "seed": self.config["seed"]}

    def run(self, recipe: Recipe, work: Work | None = None) -> list[Result]:
        """Finish the selected folds of `recipe` and its inputs by `work`; return the results, its own last."""
        recipes = list(recipe.with_inputs())
        for one in recipes:
            self._refuse_other(one)
            self._refuse_namesake(one)
        selected = [(one, split) for split in self.scheme.selected(self.splits) for one in recipes]
        missing = [(one, split) for one, split in selected if self.run_of(one).fold(split) is None]
        with self.progress.job([(one.title, one.epochs) for one, _ in missing]):
            (work or one_by_one)(self, missing)
        return [merge(self.run_of(one), one, self.splits, self.data.samples, self.config) for one in recipes]

    def _refuse_other(self, recipe: Recipe) -> None:
        """Refuse a finished run as a member unless its classes, images and folds are those of this job."""
        if recipe.finished is None:
            return
        run, samples = Run.load(recipe.finished, recipe.title), self.data.samples
        rows = [table.rows.set_index("sample_id")["digest"].to_dict() for table in (run.samples, samples)]
        for what, same in (
            (f"classes, {list(run.samples.classes)}", run.samples.classes == samples.classes),
            ("images", rows[0] == rows[1]),
            ("folds (data, folds or seed differ)", Splits(run.splits).fingerprint == self.splits.fingerprint),
        ):
            if not same:
                raise UserError(f"{recipe.title}: run {recipe.finished} has other {what}; a member must share them.")

    def _refuse_namesake(self, recipe: Recipe) -> None:
        """Refuse a class that shares its name with another one whose folds are stored: identity goes by the name alone."""
        if recipe.finished is not None:
            return
        run, target = self.run_of(recipe), recipe.module["_target_"]
        for stored in {fold.marker.get("target") for split in self.splits if (fold := run.fold(split))} - {target, None}:
            try:
                same = class_of({"_target_": stored}, FoldModel) is class_of(recipe.module, FoldModel)
            except UserError:  # its module was moved or renamed
                continue
            if not same:
                raise UserError(
                    f"{run.path} holds folds of {stored}, and {target} has the same name; rename one of the classes."
                )

    def run_of(self, recipe: Recipe) -> Run:
        """Return the run that holds the folds of a recipe."""
        if recipe.finished is not None:
            return Run.load(recipe.finished, recipe.title)
        return Run.of(self.root, recipe.name, {**self.common, **recipe.record})

    def finish(self, recipe: Recipe, split: Split) -> FinishedFold | None:
        """Return the finished fold, fitting it if needed; None while another job works on it or on one of its inputs."""
        run = self.run_of(recipe)
        if (finished := run.fold(split)) is not None:
            return finished
        inputs = {}
        for name, needed in recipe.inputs.items():
            if (fold := self.finish(needed, split)) is None:
                return None
            inputs[name] = fold
        with attempt(run.neighbour(split, "lease"), run.neighbour(split, "failed")) as ours:
            finished = run.fold(split)  # another job may have finished it just now
            if not ours or finished is not None:
                return finished
            return self._finish(recipe, split, inputs, run)

    def _finish(self, recipe: Recipe, split: Split, inputs: Mapping[str, FinishedFold], run: Run) -> FinishedFold:
        """Fit and store a fold whose lease this process holds."""
        run.write_once("splits.parquet", self.splits.table)
        run.remove_half_written(split)
        unfinished = Unfinished(run.neighbour(split, "unfinished"), self.config.get("keep_epoch_s"))
        marker: dict[str, Any] = {
            "target": recipe.module["_target_"],
            "inputs": {name: os.path.relpath(fold.path, self.root) for name, fold in inputs.items()},
            "titles": {name: needed.title for name, needed in recipe.inputs.items()},
            "versions": environment(),
            **({"resumed_after_epochs": unfinished.epochs} if unfinished.epochs else {}),
        }
        started = time.perf_counter()
        with run.writing(split, marker) as folder, recording() as stages:
            marker |= self._fit(recipe, split, inputs, run, folder, unfinished)
            marker |= {"seconds": round(time.perf_counter() - started, 2), **stages.summary()}
        unfinished.clear()
        return_memory()
        return FinishedFold(run.path / split.name)

    def holder_of(self, recipe: Recipe, split: Split) -> Holder | None:
        """Return which job works on this fold."""
        return holder(self.run_of(recipe).neighbour(split, "lease"))

    def _fit(
        self, recipe: Recipe, split: Split, inputs: Mapping[str, FinishedFold], run: Run, folder: Path, unfinished: Unfinished
    ) -> dict[str, Any]:
        """Fit one model on one fold, write checkpoint and predictions into `folder`; return what its marker says."""
        seed_everything(seed_for(self.config["seed"], split.repeat, split.fold, kind_of(recipe.module)), verbose=False)
        self.data.set_split(split)
        model = recipe.model(self.data.samples.classes)
        model.build_on(inputs)
        config = {**self.config, "model": recipe.record["model"], "fold": split.name, "title": recipe.title}
        with self.tracker.fold(run.path, split.name, config) as logger:
            if isinstance(model, LearnsFromTables):
                table = self._combine(model, split, inputs)
                trainer = make_trainer(on_one_device(recipe.trainer), logger=False, enable_checkpointing=False)
                save(model, trainer, folder / "model.ckpt")
            else:
                own, watchers = (make_callbacks(c, bool(split.val)) for c in (recipe.callbacks, self.config["callbacks"]))
                timing = self.progress.callback(recipe.title, split)
                fit(model, self.data, recipe.trainer, [*own, *watchers, timing], logger, folder, unfinished)
                table = predict(model, self.data, recipe.trainer, own, folder, self._features)
            table.to_parquet(folder / "predictions.parquet", index=False)
            out_of_fold([(split, FinishedFold(folder))], self.data.samples)  # refuses gaps, doubles and NaN
            scores = scores_by_part(table, self.data.samples)
            self.tracker.fold_scores(logger, scores["test"])
        shared = model.shared()
        stored = {"shared": store_shared(self.root, shared)} if shared else {}
        return {"how_fitted": model.how_fitted, "scores": scores, **stored}

    def _combine(self, model: LearnsFromTables, split: Split, inputs: Mapping[str, FinishedFold]) -> pd.DataFrame:
        """Learn to combine on val rows, then combine val and test rows."""
        tables = {part: {name: fold.predictions(part) for name, fold in inputs.items()} for part in ("val", "test")}
        samples = self.data.samples
        val = samples.select(split.val)
        target = pd.Series([samples.classes[t] for t in val["target"]], index=val["sample_id"], dtype=object)
        model.fit_tables(tables["val"], target)
        parts = ["val", "test"] if split.val else ["test"]
        return pd.concat([model.combine(tables[part]).assign(part=part) for part in parts], ignore_index=True)


def one_by_one(validation: CrossValidation, missing: Missing) -> None:
    """Finish these folds in this process, and last those that other jobs work on."""
    waiting = list(missing)
    while waiting:
        put_off = []
        for recipe, split in waiting:
            fold = validation.finish(recipe, split)
            if fold is None:
                put_off.append((recipe, split))
                validation.progress.waiting(recipe.title, split, validation.holder_of(recipe, split))
            else:
                validation.progress.finished(recipe.title, split, fold.marker)
        if len(put_off) == len(waiting):
            time.sleep(POLL)
        waiting = put_off
