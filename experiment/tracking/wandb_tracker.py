"""W&B: one run a fold and one summary a run. What fails there is a warning, never an error of the job."""

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
from experiment.tracking.trackers import NoTracker, Summary
from experiment.tracking.wandb_content import curves, numbers, table

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)
AGENT_VARIABLES = (AGENT, "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")


class WandbTracker(NoTracker):
    """One W&B run a fold and one summary run, grouped by run; online when the user is logged in, else offline.

    Ids follow from the run's identity, so the same work, resumed or repeated, shows up as the same W&B run. A server that
    does not answer is asked once; the rest of the job is written offline.

    Args:
        project: W&B project.
        entity: W&B team or user; None takes the default.
        directory: where W&B keeps its files.
        mode: ``online``, ``offline``, or ``auto``: online when logged in.
        tags: tags of every run, besides the names of its model and of its data set.
        pictures: how many rows of the out-of-fold table come with the image, the most wrong ones first.
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
        # A trial of `wandb agent`: its run is the summary of the model that was asked for. It is told even if the same trial
        # was shown before, because the agent waits for a run of its own.
        self.agents_run = os.environ.get("WANDB_RUN_ID") if os.environ.get(AGENT) else None
        if self.agents_run:
            self.name = f"wandb agent {self.agents_run}"

    def _start(self, run: Path, job_type: str, name: str, config: Mapping[str, Any], agents: bool = False) -> Any:
        """A live W&B run, or None if there is no starting one. `agents`: it is the one that an agent waits for."""
        import wandb  # takes a second to import: only when used

        started = None
        with _only_warned("could not start"):
            started = self._started(wandb, run, job_type, name, config, agents)
        if started is None and self.mode == "online":
            self.mode = "offline"  # who does not answer is not waited for again
            with _only_warned("could not start offline"):
                started = self._started(wandb, run, job_type, name, config, agents)
        return started

    def _started(self, wandb: Any, run: Path, job_type: str, name: str, config: Mapping[str, Any], agents: bool) -> Any:
        self.directory.mkdir(parents=True, exist_ok=True)
        own, sweep = f"{run.name}-{name}".replace("/", "-"), None
        if agents and self.agents_run:
            own, sweep = self.agents_run, os.environ[AGENT]
        with _unknown_to_agent():  # W&B would take every run of this process for the trial
            return wandb.init(
                project=self.project, entity=self.entity, dir=str(self.directory), mode=self.mode,
                id=own, name=f"{run.name} {name}", group=run.name, job_type=job_type,
                tags=[*self.tags, *_own_tags(config)], config=dict(config), resume="allow",
                settings=wandb.Settings(silent=True, init_timeout=30, sweep_id=sweep),
            )  # fmt: skip

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator["Logger | None"]:
        """A `WandbLogger` on a W&B run of its own, finished at the end of the block: Lightning would reuse a live one."""
        started = self._start(run, "fold", split, config)
        failed = 1
        try:
            yield _careful_logger(started) if started is not None else None
            failed = 0
        finally:
            if started is not None:
                with _only_warned("could not finish a run"):
                    started.finish(exit_code=failed)

    def fold_scores(self, logger: "Logger | None", scores: Mapping[str, float]) -> None:
        """``test/<metric>``, as the last values of the fold's curves and so in its W&B summary."""
        if logger is not None:
            with _only_warned("did not take a fold's scores"):
                logger.log_metrics({f"test/{name}": value for name, value in scores.items()})

    def summary(self, shown: Summary) -> bool:
        """A W&B run with every number, curve, table and file of a complete run.

        Its summary holds ``oof/<metric>`` with ``/low`` and ``/high``, ``folds/<metric>/mean`` and ``/sd``, ``calibration/…``,
        ``operating/…`` and ``against/<model>/<metric>/…``.
        """
        started = self._start(shown.run, "summary", "summary", shown.config, agents=shown.asked)
        if started is None:
            return False
        told = False
        with _only_warned("did not take a run's summary"):
            started.summary.update(numbers(shown))
            started.log({**curves(shown), "oof": table(shown, self.pictures)})
            started.log_artifact(self._artifact(shown))
            told = True
        with _only_warned("could not finish a run"):
            started.finish()
        return told

    def _artifact(self, shown: Summary) -> Any:
        import wandb

        artifact = wandb.Artifact(shown.run.name, type="run", description="splits, out-of-fold table, report")
        files = [*shown.files, *(sorted(shown.run.glob("repeat-*/fold-*/model.ckpt")) if self.checkpoints else [])]
        for file in files:
            if file.exists():
                artifact.add_file(str(file), name=str(file.relative_to(shown.run)))
        return artifact

    def close(self) -> str | None:
        """The command that uploads what was written offline."""
        folder = self.directory / "wandb"
        written = [
            run for run in folder.glob("offline-run-*") if run.stat().st_mtime >= self.since
        ]  # by any process of the job
        if not written:
            return None
        where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        return f"W&B: {len(written)} runs written offline; upload with: wandb sync {where}/offline-run-*"


@contextmanager
def _unknown_to_agent() -> Iterator[None]:
    """Without what an agent of W&B has put into the environment."""
    told = {name: os.environ.pop(name) for name in AGENT_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(told)


def _own_tags(config: Mapping[str, Any]) -> list[str]:
    """Names by which a dashboard filters: the model's and the data module's."""
    target = str(config.get("data", {}).get("_target_", ""))
    return [str(tag) for tag in (config.get("title"), target.split(".")[-2] if "." in target else None) if tag]


def _careful_logger(started: Any) -> "Logger":
    """Lightning's W&B logger on this W&B run, whose failures do not stop the training."""
    from pytorch_lightning.loggers import WandbLogger

    class CarefulLogger(WandbLogger):
        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            with _only_warned("did not take a metric"):
                super().log_metrics(metrics, step)

        def log_hyperparams(self, params: Any) -> None:
            with _only_warned("did not take the hyper-parameters"):
                super().log_hyperparams(params)

    return CarefulLogger(experiment=started, log_model=False)


@contextmanager
def _only_warned(what: str) -> Iterator[None]:
    """A tracker must never stop the work, whatever went wrong on its way to the server."""
    try:
        yield
    except Exception as error:
        log.warning("W&B %s (%s); the work goes on.", what, error)


def _reachable_mode() -> str:
    """``online`` when there is a key for the W&B server, in the environment or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        known = None
    return "online" if known else "offline"
