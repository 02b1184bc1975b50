"""Settings of a sweep as columns: those that differ between trials, and their importance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from experiment.core.identity import NOT_IDENTITY
from experiment.sweep.ledger import Trial

# Overrides that say where to, how fast or what for: no settings of a model.
NO_SETTINGS = ("logger", "paths", "sweep", "hydra", "objective", "keep_epoch_s", "folds.parallel", "folds.only")
WIDE = 50.0  # ratio of the largest to the smallest number, above which the scale is logarithmic
ENOUGH = 8  # least number of trials for importance
MOST = 400  # trials that importance is computed from, in a second; of more trials, evenly from first to last


@dataclass(frozen=True)
class Setting:
    """Values of one setting over trials."""

    key: str  # key of the setting, as in the command
    texts: tuple[str, ...]  # value in each trial, as typed

    @cached_property
    def numbers(self) -> NDArray[np.float64] | None:
        """Values, if all are numbers, or lists of one number."""
        try:
            return np.array([_number(text) for text in self.texts])
        except ValueError:
            return None

    @property
    def choices(self) -> list[str]:
        """Distinct values in order."""
        return sorted(set(self.texts), key=_number) if self.numbers is not None else sorted(set(self.texts))

    @property
    def logarithmic(self) -> bool:
        """Whether the numbers span so much that the scale is logarithmic."""
        numbers = self.numbers
        return numbers is not None and bool(numbers.min() > 0 and numbers.max() > WIDE * numbers.min())

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Position of each value between the smallest (0) and the largest (1); choices at equal distances."""
        numbers = self.numbers
        if numbers is None:
            numbers = np.array([self.choices.index(text) for text in self.texts], dtype=float)
        elif self.logarithmic:
            numbers = np.log(numbers)
        return np.asarray((numbers - numbers.min()) / max(np.ptp(numbers), 1e-12))


def _number(text: str) -> float:
    return float(text.removeprefix("[").removesuffix("]"))


def is_setting(key: str) -> bool:
    """Return whether an override's key is a setting that may change numbers."""
    section, _, rest = key.partition(".")
    idle = any(key == one or key.startswith((f"{one}.", f"{one}/")) for one in NO_SETTINGS)
    return not idle and rest not in NOT_IDENTITY.get(section, ())


def labels(keys: Sequence[str]) -> dict[str, str]:
    """Return a short name for each key: its last part, or all of it where that is the last part of another one, too."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}


def varied(trials: Sequence[Trial]) -> list[Setting]:
    """Return the settings that differ between trials; a setting that a trial does not override is ``default``."""
    keys = sorted({key for trial in trials for key in trial.settings if is_setting(key)})
    columns = [Setting(key, tuple(trial.settings.get(key, "default") for trial in trials)) for key in keys]
    return [column for column in columns if len(set(column.texts)) > 1]


def brief(text: str) -> str:
    """Shorten a setting's value for a table or an axis."""
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text if len(text) <= 28 else f"{text[:27]}…"


def importances(trials: Sequence[Trial]) -> dict[str, float]:
    """Compute the share of the objective's variance that each setting explains (fANOVA; Hutter et al. 2014), largest first.

    The result is empty with too few trials, or if Optuna, which computes it, is not installed.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    columns = varied(complete)
    if len(complete) < ENOUGH or not columns or np.ptp([trial.values[0] for trial in complete]) == 0:
        return {}
    try:
        import optuna
        from optuna.distributions import BaseDistribution, FloatDistribution
    except ImportError:
        return {}

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    # Places, not names: with many categorical choices Optuna's trees take hours.
    space: dict[str, BaseDistribution] = {column.key: FloatDistribution(0, 1) for column in columns}
    for row in np.unique(np.linspace(0, len(complete) - 1, MOST).astype(int)):
        parameters = {column.key: float(column.places[row]) for column in columns}
        study.add_trial(optuna.trial.create_trial(params=parameters, distributions=space, value=complete[row].values[0]))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=16, seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
