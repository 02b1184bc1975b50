"""Settings that `benchmarks.speed` compares: their names, and their command lines."""

from collections.abc import Sequence
from dataclasses import dataclass

FASTEST: tuple[str, ...] = ("experiment=fast", "trainer.max_epochs=3")
"""Overrides of the fastest job that still answers the question."""

MANY = 10
"""Factor on the number of images, in the comparison that measures the cost of more images."""


@dataclass(frozen=True)
class Script:
    """Module that prints JSON.

    Attributes:
        module: name of the module.
        arguments: arguments in addition to data, weights, image size, epochs and workers.
        passes: how often it computes the features of every image.
    """

    module: str
    arguments: tuple[str, ...] = ()
    passes: int = 1


@dataclass(frozen=True)
class Job:
    """Run of train.py, in an empty folder unless it follows another job.

    Attributes:
        overrides: overrides in addition to data, weights, epochs, logger and paths.
        follows: job that it follows in the same folder.
        copies: factor on the number of images of the data set.
    """

    overrides: tuple[str, ...]
    follows: str | None = None
    copies: int = 1


_DEFAULT = ("model=ensemble",)
# One process: the seconds of its stages are then those that pass, as a script's are.
_FROZEN = ("model=resnet_svm", "model.features_from=pretrained", "model.symmetries=1", "folds.parallel=1")

PLAIN, PLAIN_SVM, BARE = "plain script", "plain script, SVM only", "bare forward pass"
TIMM = ("timm script", "timm script, SVM only")
FROZEN, FROZEN_MANY = "frozen SVM", f"frozen SVM, {MANY} times the images"

ALL: dict[str, Script | Job] = {
    PLAIN: Script("benchmarks.plain"),
    TIMM[0]: Script("benchmarks.plain_timm"),
    "default": Job(_DEFAULT),
    "second trial, new SVM": Job((*_DEFAULT, "model.members.resnet_svm.svm.C=[1]"), follows="default"),
    "second trial, new combiner": Job((*_DEFAULT, "model.combiner=mean"), follows="default"),
    "again": Job(_DEFAULT, follows="default"),
    "one view": Job((*_DEFAULT, "model.network.symmetries=1")),
    "fast": Job(("experiment=fast",)),
    "fastest": Job(FASTEST),
    PLAIN_SVM: Script("benchmarks.plain", ("--models", "svm"), passes=5),
    TIMM[1]: Script("benchmarks.plain_timm", ("--models", "svm"), passes=5),
    BARE: Script("benchmarks.bare_forward"),
    FROZEN: Job(_FROZEN),
    FROZEN_MANY: Job(_FROZEN, copies=MANY),
}
"""Settings by name, in the order of a turn."""

FEATURES = (PLAIN_SVM, TIMM[1], FROZEN, BARE)
"""Settings that are compared in the stage of features."""

WHOLE = tuple(name for name in ALL if name not in (*FEATURES, FROZEN_MANY))
"""Settings that fine-tune and end with an ensemble."""


def chosen(only: Sequence[str] | None) -> list[str]:
    """Return the names to run: all, or those in `only` and the jobs that they follow."""
    if only is None:
        return list(ALL)
    followed = {setting.follows for name in only if isinstance(setting := ALL[name], Job)}
    return [name for name in ALL if name in only or name in followed]
