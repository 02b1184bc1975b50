"""What runs and sweeps are at: `python status.py`, or `watch=5` to keep looking. See conf/status.yaml."""

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiment.core.build import plain
from experiment.terminal.cli import one_line_errors

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="status")
@one_line_errors
def main(cfg: DictConfig) -> None:
    """Read the folder of all runs and show what is there. Nothing is written."""
    config = plain(cfg)
    from experiment.sweep.status import print_status
    from experiment.terminal.consoles import out

    root = Path(config["paths"]["runs"]).resolve()
    while True:
        if config["watch"]:
            out.clear()
        print_status(root, out, config["complete"])
        if not config["watch"]:
            return
        time.sleep(config["watch"])


if __name__ == "__main__":
    main()
