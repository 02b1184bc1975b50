"""What runs and sweeps are doing, and what may be removed: `python status.py where.data=emps910`. See conf/status.yaml."""

import time
from pathlib import Path
from typing import Any

from experiment.terminal.cli import command


@command("status")
def main(config: dict[str, Any]) -> None:
    """Read the folder of all runs and show what is there. Nothing is written or removed but what ``prune`` names."""
    from experiment.core.names import folder
    from experiment.sweep.run_status import chosen, read_runs
    from experiment.sweep.status import print_runs, print_sweeps
    from experiment.terminal.consoles import out

    root = folder("paths.runs", config["paths"]["runs"]).resolve()
    while True:
        every = read_runs(root)
        rows = chosen(every, **config["where"])
        if config["prune"]:
            return _prune(config, root, every, [run for run, _ in rows])
        if config["watch"]:
            out.clear()
        print_runs([(run, own) for run, own in rows if config["complete"] or not run.complete], out)
        if not any(config["where"].values()):
            print_sweeps(root, out)
        if not config["watch"]:
            return None
        time.sleep(config["watch"])


def _prune(config: dict[str, Any], root: Path, every: list[Any], runs: list[Any]) -> None:
    """Say what would be removed; remove it with ``yes=true``."""
    from experiment.sweep.prune import Store, removals
    from experiment.sweep.run_status import as_date
    from experiment.sweep.status import print_removals
    from experiment.terminal.consoles import out

    cache = Path(config["paths"]["cache"]).resolve()
    found = removals(Store(root, cache, every, runs, as_date("before", config["before"])), config["prune"])
    print_removals(found, out)
    if config["yes"]:
        for removal in found.values():
            removal.remove()
    out.print("removed" if config["yes"] else "nothing is removed yet; yes=true removes it", highlight=False)


if __name__ == "__main__":
    main()
