"""Trial of a sweep: a cross-validation that is recorded in the ledger and may be stopped early."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from experiment.core.cost import duration
from experiment.core.errors import UserError
from experiment.core.identity import digest, kind_of
from experiment.core.job_context import job_number, trial_settings
from experiment.run.cross_validation import CrossValidation, Missing, Work
from experiment.run.job import describe
from experiment.run.publish import publish_stopped
from experiment.run.recipe import Recipe
from experiment.sweep.command import SweepCommand
from experiment.sweep.ledger import Ledger, Trial
from experiment.sweep.race import Folds, chance_to_win
from experiment.sweep.settings import brief, is_setting, labels


class RacedOutError(Exception):
    """Trial stopped: its first folds leave it too small a chance to become the best."""

    objective = nan
    """Objective that a sweeper receives."""


@dataclass
class Running:
    """Running trial."""

    ledger: Ledger  # ledger of the sweep
    trial: Trial  # state of the trial
    validation: CrossValidation  # cross-validation of the job
    recipe: Recipe  # model that the trial evaluates
    chance: float | None  # least chance to become the best, below which the trial stops; None never stops it
    command: SweepCommand  # that the trial belongs to

    def racing(self, work: Work) -> Work:
        """Return the same work fold by fold, with a check against other trials after each; unchanged without a race."""
        if self.chance is None:
            return work

        def raced(validation: CrossValidation, missing: Missing) -> None:
            for split in dict.fromkeys(split for _, split in missing):
                work(validation, [(recipe, one) for recipe, one in missing if one == split])
                self.compare()

        return raced

    def compare(self) -> None:
        """Record the finished folds, and compare them with other trials.

        Raises:
            RacedOutError: the folds leave the trial too small a chance.
        """
        self.note(**self.finished())
        k = len(list(self.validation.splits))
        if self.chance is None or not 0 < len(self.trial.folds) < k:
            return
        others = [_first(trial, self.ledger) for trial in self.ledger.trials() if trial.state == "complete"]
        chance = chance_to_win(_first(self.trial, self.ledger), [folds for folds in others if len(folds) == k], k)
        if chance < self.chance:
            raise RacedOutError(
                f"stopped after {len(self.trial.folds)} of {k} folds: a chance of {chance:.2f} to become the best (sweep.race)"
            )

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return what the finished folds say of the trial: its ``folds`` and ``test``."""
        run = self.validation.run_of(self.recipe)
        folds = {split.name: fold for split in self.validation.splits if (fold := run.fold(split)) is not None}
        unseen = self.ledger.objective[0].unseen
        return {
            "folds": {name: [aim.of_fold(fold) for aim in self.ledger.objective] for name, fold in folds.items()},
            "test": {name: unseen.of_fold(fold) for name, fold in folds.items()} if unseen else {},
        }

    def say(self, result: str) -> None:
        """Print a line: number of the trial, its settings, result."""
        number, settings = job_number(), self.trial.settings
        keys = [key for key in self.command.keys or settings if key in settings and is_setting(key)]
        chosen = " ".join(f"{short}={brief(settings[key])}" for key, short in labels(keys).items())
        of = f"/{self.command.trials}" if self.command.trials else ""
        place = f"[{number + 1}{of}] " if number is not None else ""
        self.validation.progress.console.print(f"{place}{chosen}: {result}", markup=False, highlight=False, soft_wrap=True)

    def note(self, **changes: Any) -> None:
        """Record changes of the trial."""
        self.trial = self.trial.now(**changes)
        self.ledger.write(self.trial)


def _first(trial: Trial, ledger: Ledger) -> Folds:
    """Return the first objective of each fold, signed so that larger is better."""
    sign = 1 if ledger.objective[0].larger_is_better else -1
    return {name: sign * values[0] for name, values in trial.folds.items()}


@contextmanager
def trial(validation: CrossValidation, recipe: Recipe) -> Iterator[tuple[CrossValidation, Callable[[Work], Work]]]:
    """Record the work of a job in the sweep's ledger; yield the job as a trial, and a function that adds the race to its work.

    A job outside a sweep stays unchanged.

    Raises:
        UserError: the folds cannot give the objective.
        RacedOutError: the race stopped the trial.
    """
    if (settings := trial_settings(validation.config)) is None:
        yield validation, lambda work: work
        return
    running = _begin(validation, recipe, settings)
    try:
        yield running.validation, running.racing
    except RacedOutError as out:
        running.note(state="raced out", note=str(out))
        objective = {aim.name: value for aim, value in zip(running.ledger.objective, running.trial.values, strict=True)}
        publish_stopped(running.validation.tracked(recipe), validation.trackers, objective, len(running.trial.folds))
        running.say(str(out))
        raise
    except BaseException as error:
        running.note(state="failed", note=f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    running.note(state="complete", **running.finished())
    values = [f"{aim.name} {value:.3f}" for aim, value in zip(running.ledger.objective, running.trial.values, strict=True)]
    running.say(", ".join([*values, duration(running.trial.seconds)]))


def _begin(validation: CrossValidation, recipe: Recipe, settings: Mapping[str, str]) -> Running:
    config = validation.config
    named: str | Sequence[str] = config["objective"]
    names = [named] if isinstance(named, str) else list(named)
    command = SweepCommand.current()
    lines = describe(validation.data.samples, validation.scheme).splitlines()
    data = "; ".join([_name_of(config["data"]), *lines, f"seed {config['seed']}"])
    name = config["sweep"]["name"] or _name(validation, recipe, settings, command.keys, names)
    ledger = Ledger.of(validation.root, name, digest(validation.common), names, data)
    chance: float | None = config["sweep"]["race"]
    if chance is not None and not 0 <= chance < 1:
        raise UserError(f"sweep.race={chance} is not allowed; it is a chance, from 0 to below 1, or null for no race.")
    if chance is not None and len(ledger.objective) > 1:
        raise UserError("sweep.race compares one number; name one objective, or take sweep.race=null.")
    if not validation.scheme.val and any(aim.name.startswith("val/") for aim in ledger.objective):
        raise UserError("objective=val/… needs val rows, but folds.val=0; take folds.val=0.15, for example.")
    validation = replace(validation, config={**config, "sweep": {**config["sweep"], "folder": str(ledger.path)}})
    own = Trial(validation.run_of(recipe).name, dict(settings), command=command.text)
    running = Running(ledger, own, validation, recipe, chance, command)
    running.note()
    return running


def _name(
    validation: CrossValidation, recipe: Recipe, settings: Mapping[str, str], varied: Sequence[str], objective: Sequence[str]
) -> str:
    """Return the name of a sweep that the command gives none: trials share it if they differ only in what is varied."""
    fixed = {key: value for key, value in settings.items() if varied and is_setting(key) and key not in varied}
    question = digest([validation.common, sorted(fixed.items()), sorted(varied), list(objective)])
    words = "-".join(labels(sorted(varied)).values()) if varied else recipe.name
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', words)[:60]}-{question[:12]}"


def _name_of(data: Mapping[str, Any]) -> str:
    """Return a name for the data set: its folder, or its class."""
    return str(data.get("root") or kind_of(data))
