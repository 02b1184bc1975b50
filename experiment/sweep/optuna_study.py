"""Optuna sweeper for Hydra that resumes, is shared by processes, and survives failed trials."""

import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from optuna.trial import TrialState

from experiment.core.errors import UserError
from experiment.core.job_context import by_key
from experiment.metrics.objective import objectives
from experiment.store.lease import Lease, holder
from experiment.sweep.ledger import SWEEPS_FOLDER, Ledger

log = logging.getLogger(__name__)
LEASE, LOST, ERROR = "lease", "lost", "error"  # attributes of trials


class OptunaStudy(OptunaSweeper):
    """Sweeper that asks Optuna for settings and reports their objectives, until the study has ``n_trials`` trials.

    It takes the settings of Hydra's sweeper (``hydra.sweeper.n_trials``, ``storage``, ``study_name``, …), with differences:

    * ``n_trials`` is the total number of trials in the study. The same command continues a stopped sweep, and several
      processes can fill one study together;
    * settings whose process was killed are tried again;
    * the mean over the folds so far is reported after each trial, fold by fold, of pruned trials too;
    * a failed trial is recorded, and the sweep continues; a trial that was raced out (its objective is NaN) counts as pruned;
    * the directions follow from ``objective``.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep; `arguments` are the overrides of the command."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        ours: Any = self.sweeper  # Hydra's implementation, whose parts we use
        ours._process_searchspace_config()
        space, fixed, further = create_params_from_overrides([*ours._parse_sweeper_params_config(), *arguments])
        space = {name: distribution for name, distribution in space.items() if name not in fixed}
        if not space:
            raise UserError(
                "the sweep has nothing to search; give ranges, such as model.lr='interval(1e-5,1e-2)', or sweep/space=resnet."
            )
        named = ours.config.objective
        aims = objectives(named if isinstance(named, str) else list(named))
        # The lease shows other processes whether the process of a running trial is still alive.
        root = Path(ours.config.paths.runs).resolve()
        processes = root / SWEEPS_FOLDER / ".processes"
        lease = Lease.take(processes / uuid.uuid4().hex)
        assert lease is not None
        # The lock guards creating the study and asking: otherwise two processes would both ask for the last trial.
        turn = FileLock(processes / "turn")
        with lease:
            with turn:
                shared = ours.storage is not None and ours.study_name in optuna.get_all_study_names(ours.storage)
                study = optuna.create_study(
                    study_name=ours.study_name, storage=ours.storage, sampler=ours.sampler, load_if_exists=True,
                    directions=["maximize" if aim.larger_is_better else "minimize" for aim in aims],
                )  # fmt: skip
            if shared:
                ours.sampler.reseed_rng()  # otherwise the seed repeats the suggestions of the first process
            while True:
                with turn:
                    _recover(study)
                    counted = _counted(study)
                    trials = [study.ask() for _ in range(min(ours.n_jobs, ours.n_trials - counted))]
                    for trial in trials:
                        trial.set_user_attr(LEASE, str(lease.path))
                if not trials:
                    break
                overrides = ours._configure_trials(trials, space, fixed, further)
                for trial, job in zip(trials, ours.launcher.launch(overrides, initial_job_idx=counted), strict=True):
                    if len(aims) == 1 and (name := ours.config.sweep.name):  # Optuna has no such values for several
                        _report_folds(trial, root / SWEEPS_FOLDER / name, by_key(job.overrides))
                    _report(study, trial, job)
        finished = study.get_trials(deepcopy=False)
        if finished and all(ERROR in trial.user_attrs for trial in finished):
            raise UserError(f"every trial failed; the last one: {finished[-1].user_attrs[ERROR]}")


def _report_folds(trial: Any, sweep: Path, settings: Mapping[str, str]) -> None:
    """Report the mean over the folds so far after each fold: a dashboard draws it, and pruned trials are ranked by it."""
    noted = Ledger.at(sweep).trials() if sweep.is_dir() else []  # trials of single folds are not noted
    for own in [one for one in noted if one.settings == settings][-1:]:
        for fold, value in enumerate(accumulate(values[0] for values in own.folds.values())):
            trial.report(value / (fold + 1), step=fold)


def _report(study: Any, trial: Any, job: Any) -> None:
    """Report the result of a trial to Optuna. NaN means raced out."""
    try:
        returned = job.return_value
        values = [float(value) for value in (returned if isinstance(returned, Sequence) else [returned])]
    except Exception as error:
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
        return log.warning("trial %d failed: %s", trial.number, error)
    if any(map(math.isnan, values)):
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, values)


def _counted(study: Any) -> int:
    """Count the trials that are finished, or running in any process."""
    trials = study.get_trials(deepcopy=False)
    return sum(t.state != TrialState.WAITING and LOST not in t.user_attrs and not _is_lost(t) for t in trials)


def _recover(study: Any) -> None:
    """Queue again the settings of trials whose process is gone."""
    for trial in study.get_trials(deepcopy=False):
        if _is_lost(trial):
            study._storage.set_trial_user_attr(trial._trial_id, LOST, True)
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:  # another process was first: a finished trial cannot be reported twice
                continue
            study.enqueue_trial(trial.params)


def _is_lost(trial: Any) -> bool:
    if trial.state != TrialState.RUNNING or LEASE not in trial.user_attrs:
        return False
    owner = holder(Path(trial.user_attrs[LEASE]))
    return owner is None or owner.stale
