"""Any logger of Lightning as a tracker: TensorBoard, MLflow, CSV files and others."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.loggers import Logger

from experiment.core.build import build
from experiment.core.errors import UserError
from experiment.tracking.summary import Summary, numbers
from experiment.tracking.trackers import Tracked, Tracker, warn_only


class LightningTracker(Tracker):
    """One Lightning logger per fold, and one per summary.

    In the texts of the logger's settings ``{name}`` stands for the model and what differs from the default config, ``{run}``
    for the run's folder, ``{part}`` for the fold (``repeat-0-fold-1``) or ``summary``, and ``{sweep}`` for the sweep.

    Args:
        name: name in the config.
        logger: config of the Lightning logger, with its ``_target_``.

    Raises:
        UserError: the logger refuses a setting, or its package is not installed.
    """

    def __init__(self, name: str, logger: Mapping[str, Any]) -> None:
        self.name, self.config = name, logger
        try:
            build(logger, Logger)  # type: ignore[type-abstract]  # a base class is asked for
        except ImportError as error:
            # Lightning names what is missing; for TensorBoard it names two packages, and the second is the usual one
            packages = re.findall(r"pip install -U '([^']+)'", str(error))
            install = f"type: pip install '{packages[-1]}'" if packages else " ".join(str(error).split())
            raise UserError(f"logger={name} needs a package that is not installed; {install}") from error

    @contextmanager
    def fold(self, tracked: Tracked, split: str) -> Iterator[Logger | None]:
        """Yield the logger of one fold, which has the config of the run."""
        logger = self._started(tracked, split.replace("/", "-"))
        status = "failed"
        try:
            yield logger
            status = "success"
        finally:
            if logger is not None:
                logger.finalize(status)

    def summary(self, summary: Summary) -> bool:
        """Log the numbers of a complete run."""
        return self.stopped(summary.tracked, numbers(summary))

    def stopped(self, tracked: Tracked, numbers: Mapping[str, float]) -> bool:
        """Log numbers as the summary of a run."""
        if (logger := self._started(tracked, "summary")) is None:
            return False
        logger.log_metrics(numbers, step=0)
        logger.finalize("success")
        return not logger.failed

    def _started(self, tracked: Tracked, part: str) -> "CarefulLogger | None":
        sweep = tracked.sweep.name if tracked.sweep else ""
        words = {"{name}": tracked.name, "{run}": tracked.run.name, "{part}": part, "{sweep}": sweep}
        logger = None
        with warn_only(self.name, "could not start"):
            logger = CarefulLogger(self.name, build(_filled(self.config, words), Logger))  # type: ignore[type-abstract]
            logger.log_hyperparams(dict(tracked.config))
        return logger


class CarefulLogger(Logger):
    """Logger that passes everything on to another one, whose failures become warnings.

    Args:
        tracker: name in warnings.
        logger: the other logger.
    """

    def __init__(self, tracker: str, logger: Logger) -> None:
        super().__init__()
        self.tracker, self.logger, self.failed = tracker, logger, False

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        return self.logger.save_dir

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._call("a metric", "log_metrics", dict(metrics), step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._call("the hyper-parameters", "log_hyperparams", params, *args, **kwargs)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        self._call("the graph", "log_graph", model, input_array)

    def save(self) -> None:
        self._call("its files", "save")

    def finalize(self, status: str) -> None:
        self._call("the end", "finalize", status)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._call("a checkpoint", "after_save_checkpoint", checkpoint_callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["logger"], name)  # what the logger has of its own, such as `experiment`

    def _call(self, what: str, method: str, *args: Any, **kwargs: Any) -> None:
        done = False
        with warn_only(self.tracker, f"did not take {what}"):
            getattr(self.logger, method)(*args, **kwargs)
            done = True
        self.failed = self.failed or not done


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Replace the words in all texts of a config."""
    if isinstance(value, Mapping):
        return {key: _filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words) for item in value]
    if isinstance(value, str):
        for word, meaning in words.items():
            value = value.replace(word, meaning)
    return value
