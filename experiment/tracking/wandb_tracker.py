"""W&B tracker. A failure of W&B is a warning, never an error of the job."""

import netrc
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiment.core.job_context import AGENT
from experiment.tracking.offline import upload_command
from experiment.tracking.summary import Summary, numbers
from experiment.tracking.trackers import Tracked, Tracker, warn_only
from experiment.tracking.wandb_content import curves, table

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

AGENT_VARIABLES = (AGENT, "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
LONGEST_TAG = 64  # characters, the most that W&B takes


class WandbTracker(Tracker):
    """One W&B run per fold and one summary run, grouped by run or sweep; online if the user is logged in, else offline.

    Ids derive from the run's identity, so the same work, resumed or repeated, is the same W&B run. W&B's files are in the
    folder of the run, or of the sweep. After a server has failed to answer once, the rest of the job is written offline.

    Args:
        project: W&B project.
        entity: W&B team or user; None takes the default.
        mode: ``online``, ``offline``, or ``auto``: what ``WANDB_MODE`` says, else online if logged in.
        tags: tags of every run, in addition to ``WANDB_TAGS`` and to the names of its model, its data set and its sweep.
        pictures: number of rows of the out-of-fold table with an image, the most wrong ones first.
        checkpoints: whether the summary run uploads the folds' checkpoints.
    """

    name = "wandb"

    def __init__(
        self,
        project: str,
        entity: str | None = None,
        mode: str = "auto",
        tags: Sequence[str] = (),
        pictures: int = 100,
        checkpoints: bool = False,
    ) -> None:
        self.project, self.entity = project, entity
        self.tags = [*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
        self.pictures, self.checkpoints = pictures, checkpoints
        self.mode = mode if mode != "auto" else os.environ.get("WANDB_MODE") or _reachable_mode()
        self.since = time.time()
        # In a trial of `wandb agent`, the agent's run is the summary of the main model. It is logged even if the same trial
        # has been logged before, because the agent waits for its own run.
        self.agents_run = os.environ.get("WANDB_RUN_ID") if os.environ.get(AGENT) else None
        if self.agents_run:
            self.name = f"wandb agent {self.agents_run}"

    def _start(self, tracked: Tracked, part: str, tags: Sequence[str] = (), agents: bool = False) -> Any:
        """Start a W&B run for a fold or ``summary``, or return None if that fails, or if W&B is disabled.

        `agents`: use the run that a W&B agent waits for.
        """
        if self.mode == "disabled":
            return None
        import wandb  # takes a second to import: only if used

        started = None
        with warn_only("W&B", "could not start"):
            started = self._started(wandb, tracked, part, tags, agents)
        if started is None and self.mode == "online":
            self.mode = "offline"  # do not wait again for a server that does not answer
            with warn_only("W&B", "could not start offline"):
                started = self._started(wandb, tracked, part, tags, agents)
        return started

    def _started(self, wandb: Any, tracked: Tracked, part: str, tags: Sequence[str], agents: bool) -> Any:
        folder, sweep = tracked.sweep or tracked.run, None
        folder.mkdir(parents=True, exist_ok=True)
        own = "-".join([*([tracked.sweep.name] if tracked.sweep else []), tracked.run.name, part])
        if agents and self.agents_run:
            own, sweep = self.agents_run, os.environ[AGENT]
        summary = part == "summary"
        unique = dict.fromkeys([*self.tags, *_own_tags(tracked), *tags])  # each once
        with _without_agent():  # otherwise W&B takes every run of this process for the trial
            return wandb.init(
                project=self.project, entity=self.entity, dir=str(folder), mode=self.mode,
                id=re.sub(r"[^\w.-]", "-", own), name=tracked.name if summary else f"{tracked.name} {part}",
                group=folder.name, job_type="summary" if summary else "fold",
                tags=list(unique), config=dict(tracked.config), resume="allow",
                settings=wandb.Settings(silent=True, init_timeout=30, sweep_id=sweep),
            )  # fmt: skip

    @contextmanager
    def fold(self, tracked: Tracked, split: str) -> Iterator["Logger | None"]:
        """Yield a `WandbLogger` with its own W&B run, finished at the end of the block: Lightning would reuse a live one."""
        started = self._start(tracked, split)
        failed = 1
        try:
            yield _logger(started) if started is not None else None
            failed = 0
        finally:
            if started is not None:
                with warn_only("W&B", "could not finish a run"):
                    started.finish(exit_code=failed)

    def summary(self, summary: Summary) -> bool:
        """Log every number, curve, table and file of a complete run.

        The W&B summary has ``oof/<metric>`` with ``/low`` and ``/high``, ``folds/<metric>/mean`` and ``/sd``,
        ``calibration/…``, ``operating/…`` and ``against/<model>/<metric>/…``.
        """
        return self._log(self._start(summary.tracked, "summary", agents=summary.asked), numbers(summary), summary)

    def stopped(self, tracked: Tracked, numbers: Mapping[str, float]) -> bool:
        """Log the objective of a trial that a race stopped, as a summary run with the tag ``raced out``."""
        return self._log(self._start(tracked, "summary", ["raced out"], agents=True), numbers)

    def _log(self, started: Any, values: Mapping[str, float], content: Summary | None = None) -> bool:
        if started is None:
            return False
        complete = False
        with warn_only("W&B", "did not take a run's summary"):
            started.summary.update(values)
            if content is not None:
                started.log({**curves(content), "oof": table(content, self.pictures)})
                started.log_artifact(self._artifact(content))
            complete = True
        with warn_only("W&B", "could not finish a run"):
            started.finish()
        return complete

    def _artifact(self, summary: Summary) -> Any:
        import wandb

        run = summary.tracked.run
        artifact = wandb.Artifact(run.name, type="run", description="splits, out-of-fold table, report")
        files = [*summary.files, *(sorted(run.glob("repeat-*/fold-*/model.ckpt")) if self.checkpoints else [])]
        for file in files:
            if file.exists():
                artifact.add_file(str(file), name=str(file.relative_to(run)))
        return artifact

    def note(self, tracked: Sequence[Tracked]) -> str | None:
        """Return the command that uploads the offline runs of these models, if there are any."""
        return upload_command([one.run for one in tracked], self.since)


@contextmanager
def _without_agent() -> Iterator[None]:
    """Hide the environment variables of a W&B agent."""
    values = {name: os.environ.pop(name) for name in AGENT_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(values)


def _own_tags(tracked: Tracked) -> list[str]:
    """Return the names of the model, of the data module and of the sweep, as filters for a dashboard."""
    target = str(tracked.config.get("data", {}).get("_target_", ""))
    names = [tracked.title, target.split(".")[-2] if "." in target else None, tracked.sweep.name if tracked.sweep else None]
    return [name[:LONGEST_TAG] for name in names if name]


def _logger(started: Any) -> "Logger":
    """Return Lightning's logger for this W&B run."""
    from pytorch_lightning.loggers import WandbLogger

    from experiment.tracking.lightning_tracker import CarefulLogger

    return CarefulLogger("W&B", WandbLogger(experiment=started, log_model=False))


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
