"""Trackers of a config: our own classes, and Lightning's loggers by their `_target_`."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger

from experiment.core.build import build, class_of
from experiment.core.errors import UserError, not_allowed
from experiment.tracking.lightning_tracker import LightningTracker
from experiment.tracking.trackers import Tracker, Trackers


def trackers(config: Mapping[str, Any]) -> Trackers:
    """Return the trackers of the section ``logger``: ``folds``, and by name a `Tracker` or a Lightning logger each.

    Raises:
        UserError: an entry is neither, has a setting that its class refuses, or needs a package that is not installed.
    """
    members = dict(config)
    folds = members.pop("folds", "auto")
    if folds not in (True, False, "auto"):
        raise not_allowed("logger.folds", folds, ["true", "false", "auto"])
    return Trackers([_tracker(name, member) for name, member in members.items()], folds)


def _tracker(name: str, config: Any) -> Tracker:
    kind = class_of(config, object) if isinstance(config, Mapping) and "_target_" in config else None
    if kind is not None and issubclass(kind, Logger):
        return LightningTracker(name, config)
    if kind is not None and issubclass(kind, Tracker):
        tracker: Tracker = build(config, Tracker)
        return tracker
    raise UserError(
        f"logger.{name}={config} is no logger; name one of Lightning's, for example "
        f"'+logger.mine={{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: logs, version: \"{{part}}\"}}'."
    )
