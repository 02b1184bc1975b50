"""Cross-validate a model: `python train.py model=ensemble data=folder data.root=DIR`. See conf/train.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from experiment.cli import one_line_errors
from experiment.config import plain

if TYPE_CHECKING:
    from experiment.again import Command
    from experiment.results import Result

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="train")
@one_line_errors
def main(cfg: DictConfig) -> float:
    """Check the settings, read and audit the images, split them, finish every fold of every model, report what came out.

    Returns:
        Balanced accuracy of the model over its out-of-fold rows.
    """
    # Heavy imports wait until there is work for them, so that --help, wrong keys and finished jobs answer at once.
    config = plain(cfg)
    from experiment import terminal
    from experiment.again import Command, repeat

    command = Command.of(config)
    results = repeat(command, config) or work(config, command)
    terminal.out.print(f"run: {results[-1].run.path}", soft_wrap=True, highlight=False)
    return float(results[-1].scores["balanced_accuracy"]["value"])


def work(config: Mapping[str, Any], command: "Command") -> Sequence["Result"]:
    """Train what is missing, and publish what is complete."""
    from experiment import terminal
    from experiment.job import prepare
    from experiment.publishing import publish
    from experiment.side_by_side import work_of
    from experiment.summary import print_published, print_results

    validation, recipe = prepare(config, terminal.err)
    results = validation.run(recipe, work_of(validation, recipe))

    print_results(results, terminal.out)
    if published := publish(results, validation.data, validation.tracker):
        print_published(published, terminal.out)
        if published.shown:
            command.finished(results)
    if told := validation.tracker.close():
        terminal.err.print(told, highlight=False)
    return results


if __name__ == "__main__":
    main()
