"""W&B tracker. A failure of W&B is a warning, never an error of the job."""

import logging
import netrc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiment.core.job_context import AGENT
from experiment.tracking.trackers import Summary, Tracker
from experiment.tracking.wandb_content import curves, numbers, table

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)
AGENT_VARIABLES = (AGENT, "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")


class WandbTracker(Tracker):
    """One W&B run per fold and one summary run, grouped by run; online if the user is logged in, else offline.

    Ids derive from the run's identity, so the same work, resumed or repeated, is the same W&B run. After a server has failed
    to answer once, the rest of the job is written offline.

    Args:
        project: W&B project.
        entity: W&B team or user; None takes the default.
        directory: folder for W&B's files.
        mode: ``online``, ``offline``, or ``auto``: online if logged in.
        tags: tags of every run, in addition to the names of its model and of its data set.
        pictures: number of rows of the out-of-fold table with an image, the most wrong ones first.
        checkpoints: whether the summary run uploads the folds' checkpoints.
    """

    name: str | None = "wandb"

    def __init__(
        self,
        project: str,
        directory: str,
        entity: str | None = None,
        mode: str = "auto",
        tags: Sequence[str] = (),
        pictures: int = 100,
        checkpoints: bool = False,
    ) -> None:
        self.project, self.entity, self.tags = project, entity, list(tags)
        self.pictures, self.checkpoints = pictures, checkpoints
        self.directory = Path(directory).resolve()
        self.mode = mode if mode != "auto" else os.environ.get("WANDB_MODE") or _reachable_mode()
        self.since = time.time()
        # In a trial of `wandb agent`, the agent's run is the summary of the main model. It is logged even if the same trial
        # has been logged before, because the agent waits for its own run.
        self.agents_run = os.environ.get("WANDB_RUN_ID") if os.environ.get(AGENT) else None
        if self.agents_run:
            self.name = f"wandb agent {self.agents_run}"

    def _start(self, run: Path, job_type: str, name: str, config: Mapping[str, Any], agents: bool = False) -> Any:
        """Start a W&B run, or return None if that fails. `agents`: use the run that a W&B agent waits for."""
        import wandb  # takes a second to import: only if used

        started = None
        with _warn_only("could not start"):
            started = self._started(wandb, run, job_type, name, config, agents)
        if started is None and self.mode == "online":
            self.mode = "offline"  # do not wait again for a server that does not answer
            with _warn_only("could not start offline"):
                started = self._started(wandb, run, job_type, name, config, agents)
        return started

    def _started(self, wandb: Any, run: Path, job_type: str, name: str, config: Mapping[str, Any], agents: bool) -> Any:
        self.directory.mkdir(parents=True, exist_ok=True)
        own, sweep = f"{run.name}-{name}".replace("/", "-"), None
        if agents and self.agents_run:
            own, sweep = self.agents_run, os.environ[AGENT]
        with _without_agent():  # otherwise W&B takes every run of this process for the trial
            return wandb.init(
                project=self.project, entity=self.entity, dir=str(self.directory), mode=self.mode,
                id=own, name=f"{run.name} {name}", group=run.name, job_type=job_type,
                tags=[*self.tags, *_own_tags(config)], config=dict(config), resume="allow",
                settings=wandb.Settings(silent=True, init_timeout=30, sweep_id=sweep),
            )  # fmt: skip

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """Yield a `WandbLogger` with its own W&B run, finished at the end of the block: Lightning would reuse a live one."""
        started = self._start(run, "fold", split, config)
        failed = 1
        try:
            yield _careful_logger(started) if started is not None else None
            failed = 0
        finally:
            if started is not None:
                with _warn_only("could not finish a run"):
                    started.finish(exit_code=failed)

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """Log ``test/<metric>`` as the last values of the fold's curves, and so in its W&B summary."""
        if logger is not None:
            with _warn_only("did not take a fold's scores"):
                logger.log_metrics({f"test/{name}": value for name, value in scores.items()})

    def summary(self, summary: Summary) -> bool:
        """Log every number, curve, table and file of a complete run.

        The W&B summary has ``oof/<metric>`` with ``/low`` and ``/high``, ``folds/<metric>/mean`` and ``/sd``,
        ``calibration/…``, ``operating/…`` and ``against/<model>/<metric>/…``.
        """
        started = self._start(summary.run, "summary", "summary", summary.config, agents=summary.asked)
        if started is None:
            return False
        complete = False
        with _warn_only("did not take a run's summary"):
            started.summary.update(numbers(summary))
            started.log({**curves(summary), "oof": table(summary, self.pictures)})
            started.log_artifact(self._artifact(summary))
            complete = True
        with _warn_only("could not finish a run"):
            started.finish()
        return complete

    def _artifact(self, summary: Summary) -> Any:
        import wandb

        artifact = wandb.Artifact(summary.run.name, type="run", description="splits, out-of-fold table, report")
        files = [*summary.files, *(sorted(summary.run.glob("repeat-*/fold-*/model.ckpt")) if self.checkpoints else [])]
        for file in files:
            if file.exists():
                artifact.add_file(str(file), name=str(file.relative_to(summary.run)))
        return artifact

    def close(self) -> str | None:
        """Return the command that uploads the offline runs, if there are any."""
        folder = self.directory / "wandb"
        # runs of all processes of the job
        offline = [run for run in folder.glob("offline-run-*") if run.stat().st_mtime >= self.since]
        if not offline:
            return None
        where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        return f"W&B: {len(offline)} runs written offline; upload with: wandb sync {where}/offline-run-*"


@contextmanager
def _without_agent() -> Iterator[None]:
    """Hide the environment variables of a W&B agent."""
    values = {name: os.environ.pop(name) for name in AGENT_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(values)


def _own_tags(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the model and of the data module, as filters for a dashboard."""
    target = str(config.get("data", {}).get("_target_", ""))
    return [str(tag) for tag in (config.get("title"), target.split(".")[-2] if "." in target else None) if tag]


def _careful_logger(started: Any) -> "Logger":
    """Return Lightning's W&B logger for this run, whose failures do not stop the training."""
    from pytorch_lightning.loggers import WandbLogger

    class CarefulLogger(WandbLogger):
        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            with _warn_only("did not take a metric"):
                super().log_metrics(metrics, step)

        def log_hyperparams(self, params: Any) -> None:
            with _warn_only("did not take the hyper-parameters"):
                super().log_hyperparams(params)

    return CarefulLogger(experiment=started, log_model=False)


@contextmanager
def _warn_only(what: str) -> Iterator[None]:
    """Turn any error into a warning: a tracker must never stop the work."""
    try:
        yield
    except Exception as error:
        log.warning("W&B %s (%s); the work goes on.", what, error)


def _reachable_mode() -> str:
    """Return ``online`` if there is a key for the W&B server in the environment or in netrc, where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        key = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        key = None
    return "online" if key else "offline"
