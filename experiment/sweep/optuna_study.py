"""Hydra's Optuna sweeper, as a sweep needs it: resumed by the same command, shared by processes, not ended by a failure."""

import logging
import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper

from experiment.core.errors import UserError
from experiment.metrics.objective import objectives
from experiment.store.lease import Lease, holder
from experiment.sweep.ledger import SWEEPS_FOLDER

log = logging.getLogger(__name__)
LEASE, LOST, ERROR = "lease", "lost", "error"  # attributes of trials


class OptunaStudy(OptunaSweeper):
    """Asks Optuna for settings and tells it what they are worth, until the study holds ``n_trials``.

    It takes the settings of Hydra's sweeper (``hydra.sweeper.n_trials``, ``storage``, ``study_name``, …), and differs:

    * ``n_trials`` is how many the study shall hold in all. The same command goes on where it was stopped, and several
      processes fill one study together;
    * settings whose process was killed are tried again;
    * a trial that fails is recorded, and the sweep goes on; one that was raced out (its objective is NaN) counts as pruned;
    * the directions follow from ``objective``.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep; `arguments` are the overrides of the command."""
        import optuna
        from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        ours: Any = self.sweeper  # Hydra's implementation, whose parts we use
        ours._process_searchspace_config()
        space, fixed, further = create_params_from_overrides([*ours._parse_sweeper_params_config(), *arguments])
        space = {name: distribution for name, distribution in space.items() if name not in fixed}
        if not space:
            raise UserError("nothing to search: give ranges, such as model.lr='interval(1e-5,1e-2)', or sweep/space=resnet.")
        named = ours.config.objective
        aims = objectives(named if isinstance(named, str) else list(named))
        # By its lease others know whether the process that asked for a trial is still there to tell what came of it.
        processes = Path(ours.config.paths.runs).resolve() / SWEEPS_FOLDER / ".processes"
        lease = Lease.take(processes / uuid.uuid4().hex)
        assert lease is not None
        # To make the study, and to ask: else two processes would both ask for the last trial.
        turn = FileLock(processes / "turn")
        with lease:
            with turn:
                shared = ours.storage is not None and ours.study_name in optuna.get_all_study_names(ours.storage)
                study = optuna.create_study(
                    study_name=ours.study_name, storage=ours.storage, sampler=ours.sampler, load_if_exists=True,
                    directions=["maximize" if aim.larger_is_better else "minimize" for aim in aims],
                )  # fmt: skip
            if shared:
                ours.sampler.reseed_rng()  # else the seed would suggest again what it did to the first process
            while True:
                with turn:
                    _recover(study)
                    trials = [study.ask() for _ in range(min(ours.n_jobs, ours.n_trials - _counted(study)))]
                    for trial in trials:
                        trial.set_user_attr(LEASE, str(lease.path))
                if not trials:
                    break
                overrides = ours._configure_trials(trials, space, fixed, further)
                returned = ours.launcher.launch(overrides, initial_job_idx=ours.job_idx)
                ours.job_idx += len(returned)
                for trial, job in zip(trials, returned, strict=True):
                    _tell(study, trial, job)
        finished = study.get_trials(deepcopy=False)
        if finished and all(ERROR in trial.user_attrs for trial in finished):
            raise UserError(f"every trial failed; the last one: {finished[-1].user_attrs[ERROR]}")


def _tell(study: Any, trial: Any, job: Any) -> None:
    """What came of a trial. NaN stands for one that was raced out."""
    from optuna.trial import TrialState

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
    """Trials that are finished, or at work somewhere."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return sum(t.state != TrialState.WAITING and LOST not in t.user_attrs and not _is_lost(t) for t in trials)


def _recover(study: Any) -> None:
    """Have settings tried again whose process is gone."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False):
        if _is_lost(trial):
            study._storage.set_trial_user_attr(trial._trial_id, LOST, True)
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:  # another process was first: a finished trial cannot be told again
                continue
            study.enqueue_trial(trial.params)


def _is_lost(trial: Any) -> bool:
    from optuna.trial import TrialState

    if trial.state != TrialState.RUNNING or LEASE not in trial.user_attrs:
        return False
    held = holder(Path(trial.user_attrs[LEASE]))
    return held is None or held.stale
