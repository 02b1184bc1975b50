"""What the terminal shows: results on stdout, progress and notes on stderr, and nothing that nobody can act on."""

import logging
import sys
import warnings
from typing import Any

from rich.console import Console
from rich.text import Text

from experiment.core.text import visible


class PlainConsole(Console):
    """Console that shows texts as they are: labels and file names are neither markup nor control sequences."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str("\n".join(map(visible, text.split("\n"))), **how)


# A file or a pipe has no width of its own; 80 would cut a table of many models.
out = PlainConsole(width=None if sys.stdout.isatty() else 120)
err = PlainConsole(stderr=True, width=None if sys.stderr.isatty() else 200)

# Each message and why it cannot help a user of this program.
SILENCED = {
    r".*does not have many workers.*": "images come from memory; worker processes would only slow that down",
    r".*The number of training batches .* is smaller than the logging interval.*": "curves are logged by epoch",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*": "inside Lightning",
    r".*but have no `validation_step`.*": "a model that is fitted by its callback has no epochs to validate",
    r".*`LightningModule.configure_optimizers` returned `None`.*": "the same: it has no optimiser",
    r".*module\(s\) in eval mode at the start of training.*": "frozen layers, as asked for",
    r".*contains no parameters.*": "an ensemble's checkpoint holds its combiner alone, and a mean has no numbers",
    r".*The given NumPy array is not writable.*": "pandas hands out read-only views; nothing writes to them",
    r".*Checkpoint directory .* exists and is not empty.*": "a fold that was cut short is resumed",
    r".*`srun` command is available on your system but is not used.*": "one process does a job; a launcher starts it",
    r".*(No positive|No negative) samples in targets.*": "torchmetrics on a small val part; such a score is NaN",
    r".*Grad strides do not match bucket view strides.*": "two names of one layout, for 1 × 1 convolutions in channels_last",
}


def quiet() -> None:
    """Silence the libraries' notes that are listed above, and Lightning's banner about devices; not its profilers."""
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)
    for fabric in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(fabric).setLevel(logging.WARNING)
