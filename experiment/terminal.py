"""What the terminal shows: results on stdout, progress and notes on stderr, and nothing that nobody can act on."""

import logging
import warnings

from rich.console import Console

from experiment.contracts import SampleTable
from experiment.folds import FoldScheme

out = Console()
err = Console(stderr=True)

# Each message and why it cannot help a user of this program.
SILENCED = {
    r".*does not have many workers.*": "images come from memory; worker processes would only slow that down",
    r".*`max_epochs=0`.*": "a model that is fitted by its callback takes no epoch on purpose",
    r".*The number of training batches .* is smaller than the logging interval.*": "curves are logged by epoch",
    r".*Checkpoint directory .* exists and is not empty.*": "each fold has a new folder",
    r".*in the `DataLoader` will speed up.*": "the same as the first",
    r".*lr_scheduler.step\(\).*before.*optimizer.step\(\).*": "Lightning's gradient scaler skips first steps on purpose",
    r".*No positive samples in targets.*": "torchmetrics on a small val part; undefined values are handled",
    r".*No negative samples in targets.*": "the same",
    r".*Starting from v1.9.0, `tensorboardX`.*": "there is a logger of our own",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*": "inside Lightning",
    r".*`configure_optimizers` returned `None`.*": "a model that is fitted by its callback has no optimiser",
    r".*`training_step` .*": "the same",
}  # fmt: skip


def quiet() -> None:
    """Silence the libraries' notes that are listed above, and Lightning's banner about devices."""
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def describe(samples: SampleTable, scheme: FoldScheme) -> str:
    """What was read and how it is split, in two lines."""
    counts = ", ".join(f"{name} {(samples.target == index).sum()}" for index, name in enumerate(samples.classes))
    groups = len(set(samples.group))
    by = f"{groups} groups" if samples.grouped else "no groups given: each image is its own, so nothing keeps patients apart"
    lines = [
        f"{len(samples.rows)} images: {counts}; positive class: {samples.positive} (data.positive); {by}",
        f"{scheme.k} folds{f' × {scheme.repeats} repeats' if scheme.repeats > 1 else ''}, "
        + ("by group" if scheme.grouped else "by image"),
    ]
    if samples.grouped and not scheme.grouped:
        lines.append("warning: groups are ignored (folds=stratified); images of one group leak into the test parts")
    return "\n".join(lines)
