"""Cross-validate a model: `python train.py model=ensemble data=folder data.root=DIR`. See conf/train.yaml."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiment.cli import one_line_errors
from experiment.config import plain

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="train")
@one_line_errors
def main(cfg: DictConfig) -> float:
    """Check the settings, read and audit the images, split them, finish every fold of every model, report what came out.

    Returns:
        Balanced accuracy of the model over its out-of-fold rows.
    """
    # Heavy imports wait until the command is known to be a job, so that --help and wrong keys answer at once.
    config = plain(cfg)
    from experiment import terminal
    from experiment.job import prepare
    from experiment.publishing import publish
    from experiment.side_by_side import work_of
    from experiment.summary import print_results

    validation, recipe = prepare(config, terminal.err)
    results = validation.run(recipe, work_of(validation, recipe))

    print_results(results, terminal.out)
    if published := publish(results, validation.data, validation.tracker):
        terminal.out.print(" ".join(published.headline), highlight=False)
        terminal.out.print(f"report: {published.page}", soft_wrap=True, highlight=False)
    if told := validation.tracker.close():
        terminal.err.print(told, highlight=False)
    terminal.out.print(f"run: {results[-1].run.path}", soft_wrap=True, highlight=False)
    return float(results[-1].scores["balanced_accuracy"]["value"])


if __name__ == "__main__":
    main()
