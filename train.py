"""Cross-validate a model: `python train.py model=ensemble data=folder data.root=DIR`. See conf/train.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.utils import execution_whitelist
from omegaconf import DictConfig

from experiment.core.build import build
from experiment.core.config import plain
from experiment.run.cluster import share_code
from experiment.run.cores import sleep_while_waiting
from experiment.run.importing import leaving_at_once, without_collection
from experiment.terminal.cli import one_line_errors

if TYPE_CHECKING:
    from experiment.store.results import Result

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="train")
@one_line_errors
def main(cfg: DictConfig) -> "float | list[float] | None":
    """Check the settings, read and audit the images, split them, finish every fold of every model, report what came out.

    Returns:
        The objective: one number, or as many as are named. None where it is not defined.
    """
    # Heavy imports wait until there is work for them, so that --help and wrong keys answer at once.
    config = plain(cfg)
    from experiment.metrics.objective import of_run
    from experiment.run.cluster import enter_job
    from experiment.sweep.trial import RacedOutError
    from experiment.terminal.consoles import err, out

    enter_job()
    try:
        results = work(config)
    except RacedOutError as raced_out:
        err.print(str(raced_out), highlight=False)
        return raced_out.objective
    out.print(f"run: {results[-1].run.path}", soft_wrap=True, highlight=False)
    return of_run(config["objective"], results[-1].run.path)


def work(config: Mapping[str, Any]) -> Sequence["Result"]:
    """Train what is missing, and publish what is complete."""
    build(config["folds"])  # wrong folds are refused before Lightning is imported
    with without_collection():
        from experiment.core.job_context import in_sweep
        from experiment.run.job import prepare
        from experiment.run.parallel import ready, work_of
        from experiment.run.publish import publish
        from experiment.sweep.trial import trial
        from experiment.terminal.consoles import err, out
        from experiment.terminal.summary import print_published, print_results

        ready(config)
    validation, recipe = prepare(config, err)
    with trial(validation, recipe) as racing:
        results = validation.run(recipe, racing(work_of(validation, recipe)))

    if not in_sweep():
        print_results(results, out)
    if published := publish(results, validation.data, validation.tracker, config["objective"], page=not in_sweep()):
        print_published(published, out)
    if told := validation.tracker.close():
        err.print(told, highlight=False)
    return results


if __name__ == "__main__":
    sleep_while_waiting()
    share_code(CONF.parent)
    # SweepEvents is what Hydra itself may build from a config.
    with leaving_at_once(), execution_whitelist("experiment.sweep.hydra_events.SweepEvents"):
        main()
