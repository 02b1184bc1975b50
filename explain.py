"""Where a finished model looks: `python explain.py run=runs/ensemble-…`. See conf/explain.yaml."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiment.config import plain
from experiment.console.cli import one_line_errors
from experiment.processes.cores import sleep_while_waiting
from experiment.processes.importing import leaving_at_once

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="explain")
@one_line_errors
def main(cfg: DictConfig) -> None:
    """Map test images of each fold with that fold's model, write the pictures, and score them where the truth is known."""
    config = plain(cfg)
    from experiment.build import build, relocated
    from experiment.console import terminal
    from experiment.maps import explain
    from experiment.store.finished import FinishedRun

    terminal.quiet()
    run = FinishedRun.at(Path(config["run"]))
    data = build(relocated(run.config["data"]))
    data.load()
    folder = Path(config["out"]) if config["out"] else run.path / "explanations"
    explained = explain(run, data, config["images"], config["seed"], folder.resolve())

    if (told := explained.pointing()) is not None:
        terminal.out.print(told, highlight=False)
    terminal.out.print(f"explanations: {folder.resolve()}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sleep_while_waiting()
    with leaving_at_once():
        main()
