"""One trial of a sweep: a cross-validation that others are compared with, and that may be given up early."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from typing import Any

from experiment.core.cost import duration
from experiment.core.errors import UserError
from experiment.core.identity import digest
from experiment.core.job_context import trial_settings
from experiment.run.cross_validation import CrossValidation, Missing, Work
from experiment.run.recipe import Recipe
from experiment.sweep.ledger import Ledger, Trial
from experiment.sweep.race import Folds, chance_to_win


class RacedOutError(Exception):
    """A trial was given up: its first folds leave it too small a chance to become the best."""

    objective = nan
    """What a sweeper is told of it."""


@dataclass
class Running:
    """A trial at work.

    Attributes:
        ledger: of its sweep.
        trial: what is known of it.
        validation: the job.
        recipe: the model that is judged.
        chance: below which chance to become the best it is given up; None never does.
    """

    ledger: Ledger
    trial: Trial
    validation: CrossValidation
    recipe: Recipe
    chance: float | None

    def racing(self, work: Work) -> Work:
        """The same work, fold by fold, with a look at the others after each; without a race all at once."""
        if self.chance is None:
            return work

        def raced(validation: CrossValidation, missing: Missing) -> None:
            for split in dict.fromkeys(split for _, split in missing):
                work(validation, [(recipe, one) for recipe, one in missing if one == split])
                self.look_around()

        return raced

    def look_around(self) -> None:
        """Write down the folds that are finished.

        Raises:
            RacedOutError: they leave the trial too small a chance.
        """
        self.note(folds=self.finished())
        k = len(list(self.validation.splits))
        if self.chance is None or not 0 < len(self.trial.folds) < k:
            return
        others = [_first(trial, self.ledger) for trial in self.ledger.trials() if trial.state == "complete"]
        won = chance_to_win(_first(self.trial, self.ledger), [folds for folds in others if len(folds) == k], k)
        if won < self.chance:
            raise RacedOutError(
                f"given up after {len(self.trial.folds)} of {k} folds: a chance of {won:.2f} to become the best (sweep.race)"
            )

    def finished(self) -> dict[str, list[float]]:
        """The objectives of each finished fold."""
        run = self.validation.run_of(self.recipe)
        folds = {split.name: fold for split in self.validation.splits if (fold := run.fold(split)) is not None}
        return {name: [aim.of_fold(fold) for aim in self.ledger.objective] for name, fold in folds.items()}

    def note(self, **changes: Any) -> None:
        """Write down what changed."""
        self.trial = self.trial.now(**changes)
        self.ledger.write(self.trial)


def _first(trial: Trial, ledger: Ledger) -> Folds:
    """The first objective of each fold, larger is better."""
    sign = 1 if ledger.objective[0].larger_is_better else -1
    return {name: sign * values[0] for name, values in trial.folds.items()}


@contextmanager
def trial(validation: CrossValidation, recipe: Recipe) -> Iterator[Callable[[Work], Work]]:
    """Around the work of a job: notes in the sweep's ledger how it goes, and gives the work that the race allows.

    A job that belongs to no sweep goes its way unchanged.

    Raises:
        UserError: the objective cannot be had from these folds.
        RacedOutError: see there.
    """
    if (settings := trial_settings(validation.config)) is None:
        yield lambda work: work
        return
    running = _begun(validation, recipe, settings)
    try:
        yield running.racing
    except RacedOutError as out:
        running.note(state="raced out", note=str(out))
        raise
    except BaseException as error:
        running.note(state="failed", note=f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    running.note(state="complete", folds=running.finished())
    values = ", ".join(
        f"{aim.name} {value:.4f}" for aim, value in zip(running.ledger.objective, running.trial.values, strict=True)
    )
    validation.progress.console.print(f"{values}; {duration(running.trial.seconds)}", highlight=False)


def _begun(validation: CrossValidation, recipe: Recipe, settings: Mapping[str, str]) -> Running:
    config = validation.config
    named: str | Sequence[str] = config["objective"]
    names = [named] if isinstance(named, str) else list(named)
    ledger = Ledger.of(validation.root, config["sweep"]["name"], digest(validation.common), names)
    chance: float | None = config["sweep"]["race"]
    if chance is not None and not 0 <= chance < 1:
        raise UserError(f"sweep.race={chance} is not allowed; it is a chance, from 0 to below 1, or null for no race.")
    if chance is not None and len(ledger.objective) > 1:
        raise UserError("sweep.race judges by one number; name one objective, or take sweep.race=null.")
    if not validation.scheme.val and any(aim.name.startswith("val/") for aim in ledger.objective):
        raise UserError("objective=val/… needs val rows, but folds.val=0; take folds.val=0.15, for example.")
    running = Running(ledger, Trial(validation.run_of(recipe).name, dict(settings)), validation, recipe, chance)
    running.note()
    return running
