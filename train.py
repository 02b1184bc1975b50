"""Cross-validate a model: `python train.py model=ensemble data=folder data.root=DIR`. See conf/train.yaml."""

import atexit
import gc
from pathlib import Path
from typing import Any

from hydra.utils import execution_whitelist

from experiment.core.build import build
from experiment.run.cluster import enter_job, share_code
from experiment.run.cores import sleep_while_waiting
from experiment.run.forkserver import preload
from experiment.terminal.cli import command

HYDRA_BUILDS = [
    "experiment.sweep.hydra_events.SweepEvents",
    "hydra.experimental.callbacks.LogJobReturnCallback",
]
"""Callbacks around a job, ours and Hydra's own: the only classes of a config that Hydra builds itself."""


@command("train")
def main(config: dict[str, Any]) -> float | list[float] | None:
    """Check the settings, read and split the images, finish every fold of every model, publish and print the results.

    Returns:
        The objective: one number, or as many as are named. None where it is not defined, and with `trainer.fast_dev_run`.
    """
    enter_job()
    if config.get("listing"):  # mistakes in a folder are found before anything heavy is imported
        build(config["listing"], object)
    preload(config)
    gc.disable()  # imports make no garbage, and looking for it takes a fifth of their time
    from experiment.metrics.objective import of_run
    from experiment.run.fast_dev_run import run_one_batch
    from experiment.run.job import prepare
    from experiment.run.parallel import work_of
    from experiment.run.publish import present
    from experiment.sweep.trial import RacedOutError, trial
    from experiment.terminal.consoles import err, out

    if not gc.get_freeze_count():
        gc.freeze()  # nor do later collections look through what was imported; once, or a sweep's trials would stay
        atexit.register(gc.unfreeze)  # libraries in C++ report what is never collected as leaks
    gc.enable()
    if config["trainer"].get("fast_dev_run"):
        out.print(run_one_batch(config, err), highlight=False)
        return None
    validation, recipe = prepare(config, err)
    try:
        with trial(validation, recipe) as (validation, racing):
            results = validation.run(recipe, racing(work_of(validation, recipe)))
    except RacedOutError as raced_out:
        return raced_out.objective
    present(validation, recipe, results)
    out.print(f"run: {results[-1].run.path}", soft_wrap=True, highlight=False)
    return of_run(config["objective"], results[-1].run.path)


if __name__ == "__main__":
    sleep_while_waiting()
    share_code(Path(__file__).resolve().parent)
    with execution_whitelist(HYDRA_BUILDS):
        main()
