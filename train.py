"""Cross-validate a model: `python train.py model=ensemble data=folder data.root=DIR`. See conf/train.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from experiment.cli import one_line_errors
from experiment.config import plain

if TYPE_CHECKING:
    from experiment.folds import FoldScheme
    from experiment.again import Job
    from experiment.results import Published, Result

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
    from experiment.build import build
    from experiment.again import Job
    from experiment.results import Published

    scheme, job = build(config["folds"]), Job.of(config)

    if finished := job.results():
        return told(finished, scheme, Published.beside(finished[-1].run))
    return work(config, scheme, job)


def told(results: Sequence["Result"], scheme: "FoldScheme", published: "Published") -> float:
    """What a finished job says when it is asked for again."""
    from experiment import terminal
    from experiment.finished import FinishedRun
    from experiment.summary import print_ending, print_results

    terminal.err.print(terminal.describe(FinishedRun.at(results[-1].run.path).samples, scheme), highlight=False)
    print_results(results, terminal.out)
    return print_ending(results, published, terminal.out)


def work(config: Mapping[str, Any], scheme: "FoldScheme", job: "Job") -> float:
    """Train what is missing and publish what is complete."""
    from experiment import terminal
    from experiment.build import build
    from experiment.crossval import CrossValidation
    from experiment.hardware import keep_freed_memory
    from experiment.progress import Progress
    from experiment.publishing import publish
    from experiment.recipe import plan
    from experiment.summary import print_ending, print_results

    terminal.quiet()  # after Lightning was imported, which sets its own levels
    keep_freed_memory()

    data, tracker = build(config["data"]), build(config["logger"])
    recipe = plan(config["model"], config["trainer"], has_val=scheme.val > 0, watchers=config["callbacks"])

    samples = data.load()
    splits = scheme.split(samples, config["seed"])
    terminal.err.print(terminal.describe(samples, scheme), highlight=False)

    validation = CrossValidation(data, splits, scheme, config, tracker, Progress(terminal.err))
    results = validation.run(recipe)

    print_results(results, terminal.out)
    published = publish(results, data, tracker)
    if note := tracker.close():
        terminal.err.print(note, highlight=False)
    if published and published.shown:
        job.finished(results)
    return print_ending(results, published, terminal.out)


if __name__ == "__main__":
    main()
