"""Where a finished model looks: `python explain.py run=runs/ensemble-…`. See conf/explain.yaml."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiment.core.build import build, plain, relocated
from experiment.run.cores import sleep_while_waiting
from experiment.run.importing import leaving_at_once
from experiment.terminal.cli import one_line_errors

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="explain")
@one_line_errors
def main(cfg: DictConfig) -> None:
    """Map test images of each fold with that fold's model, write the pictures, and score them where the truth is known."""
    config = plain(cfg)
    from experiment.explain.explanations import explain
    from experiment.store.runs import Run
    from experiment.terminal.consoles import out, quiet

    quiet()
    run = Run.load(Path(config["run"]))
    data = build(relocated(run.config["data"]))
    data.load()
    folder = Path(config["out"]) if config["out"] else run.path / "explanations"
    explained = explain(run, data, config["images"], config["seed"], folder.resolve())

    if (told := explained.pointing()) is not None:
        out.print(told, highlight=False)
    out.print(f"explanations: {folder.resolve()}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sleep_while_waiting()
    with leaving_at_once():
        main()
