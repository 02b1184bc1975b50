"""Where curves and results are shown: W&B, CSV files, or nowhere. One tracked run a fold and one summary a run.

A tracker only looks on: nothing it does or fails to do changes a result.
"""

import csv
import logging
import netrc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pytorch_lightning.loggers import CSVLogger, Logger

log = logging.getLogger(__name__)
Scores = Mapping[str, Mapping[str, Any]]


class Tracker(Protocol):
    """What the engine tells of its work."""

    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Any:
        """Context manager around the work on one fold; yields a Lightning logger or None."""

    def fold_scores(self, logger: Logger | None, scores: Mapping[str, float]) -> None:
        """Metrics of the fold's test part."""

    def summary(self, run: Path, config: Mapping[str, Any], scores: Scores) -> None:
        """Metrics over all folds, once a run is complete."""

    def close(self) -> str | None:
        """The end of the job; returns what the user should be told."""


class NoTracker:
    """Tracks nothing."""

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator[Logger | None]:
        """No logger."""
        yield None

    def fold_scores(self, logger: Logger | None, scores: Mapping[str, float]) -> None:
        """Nothing."""

    def summary(self, run: Path, config: Mapping[str, Any], scores: Scores) -> None:
        """Nothing."""

    def close(self) -> str | None:
        """Nothing."""
        return None


class CSVTracker(NoTracker):
    """Curves and results as CSV files in ``csv/`` of each run's folder."""

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator[Logger | None]:
        """A `CSVLogger` in ``csv/<fold>/``."""
        yield CSVLogger(save_dir=run / "csv", name="", version=split.replace("/", "-"))

    def fold_scores(self, logger: Logger | None, scores: Mapping[str, float]) -> None:
        """A last row of the fold's curves."""
        if logger is not None:
            logger.log_metrics({f"test/{name}": value for name, value in scores.items()})
            logger.finalize("success")

    def summary(self, run: Path, config: Mapping[str, Any], scores: Scores) -> None:
        """``csv/summary.csv``: metric, value, mean, sd."""
        (run / "csv").mkdir(exist_ok=True)
        with (run / "csv" / "summary.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["metric", "value", "mean", "sd"])
            writer.writerows([name, s["value"], s["mean"], s["sd"]] for name, s in scores.items())


class WandbTracker(NoTracker):
    """One W&B run a fold and one summary run, grouped by run; online when the user is logged in, else offline.

    Ids follow from the run's identity, so the same work shows up as the same W&B run.

    Args:
        project: W&B project.
        entity: W&B team or user; None takes the default.
        directory: where W&B keeps its files.
        mode: ``online``, ``offline``, or ``auto``: online when logged in.
        tags: tags of every run.
    """

    def __init__(
        self, project: str, directory: str, entity: str | None = None, mode: str = "auto", tags: list[str] | None = None
    ) -> None:
        self.project, self.entity, self.tags = project, entity, tags or []
        self.directory = Path(directory).resolve()
        self.mode = mode if mode != "auto" else os.environ.get("WANDB_MODE") or _reachable_mode()
        self.offline_runs: list[str] = []

    def _start(self, run: Path, job_type: str, name: str, config: Mapping[str, Any]) -> Any:
        """A live W&B run, or None if there is no starting one."""
        import wandb  # takes a second to import: only when used

        started = None
        with _only_warned("could not start"):
            self.directory.mkdir(parents=True, exist_ok=True)
            started = wandb.init(
                project=self.project, entity=self.entity, dir=str(self.directory), mode=self.mode,  # type: ignore[arg-type]
                id=f"{run.name}-{name}".replace("/", "-"), name=f"{run.name} {name}", group=run.name, job_type=job_type,
                tags=self.tags, config=dict(config), resume="allow",
                settings=wandb.Settings(silent=True, init_timeout=30),
            )  # fmt: skip
            if started.offline:
                self.offline_runs.append(str(Path(started.dir).parent))
        return started

    @contextmanager
    def fold(self, run: Path, split: str, config: Mapping[str, Any]) -> Iterator[Logger | None]:
        """A `WandbLogger` on a W&B run of its own, finished at the end of the block: Lightning would reuse a live one."""
        from pytorch_lightning.loggers import WandbLogger

        started = self._start(run, "fold", split, config)
        failed = 1
        try:
            yield WandbLogger(experiment=started, log_model=False) if started is not None else None
            failed = 0
        finally:
            if started is not None:
                with _only_warned("could not finish a run"):
                    started.finish(exit_code=failed)

    def fold_scores(self, logger: Logger | None, scores: Mapping[str, float]) -> None:
        """``test/<metric>``, as the last values of the fold's curves and so in its W&B summary."""
        if logger is not None:
            with _only_warned("did not take a fold's scores"):
                logger.log_metrics({f"test/{name}": value for name, value in scores.items()})

    def summary(self, run: Path, config: Mapping[str, Any], scores: Scores) -> None:
        """``oof/<metric>`` with the mean and standard deviation over folds, in a W&B run of its own."""
        started = self._start(run, "summary", "summary", config)
        if started is None:
            return
        with _only_warned("did not take a run's scores"):
            for name, s in scores.items():
                started.summary.update(
                    {f"oof/{name}": s["value"], f"folds/{name}/mean": s["mean"], f"folds/{name}/sd": s["sd"]}
                )
        with _only_warned("could not finish a run"):
            started.finish()

    def close(self) -> str | None:
        """The command that uploads what was written offline."""
        if not self.offline_runs:
            return None
        folder = Path(self.offline_runs[0]).parent
        where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        return f"W&B: {len(self.offline_runs)} runs written offline; upload with: wandb sync {where}/offline-run-*"


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
