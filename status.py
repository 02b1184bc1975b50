"""What runs and sweeps are doing: `python status.py`, or `watch=5` to keep looking. See conf/status.yaml."""

import time
from typing import Any

from experiment.terminal.cli import command


@command("status")
def main(config: dict[str, Any]) -> None:
    """Read the folder of all runs and show what is there. Nothing is written."""
    from experiment.core.names import folder
    from experiment.sweep.status import print_status
    from experiment.terminal.consoles import out

    root = folder("paths.runs", config["paths"]["runs"]).resolve()
    while True:
        if config["watch"]:
            out.clear()
        print_status(root, out, config["complete"])
        if not config["watch"]:
            return
        time.sleep(config["watch"])


if __name__ == "__main__":
    main()
