"""Where a finished model looks: `python explain.py run=runs/ensemble-…`. See conf/explain.yaml."""

from pathlib import Path
from typing import Any

from experiment.run.cores import sleep_while_waiting
from experiment.terminal.cli import command


@command("explain")
def main(config: dict[str, Any]) -> None:
    """Map test images of each fold with that fold's model, score them where the truth is known, and write a page."""
    from experiment.core.build import build, relocated
    from experiment.core.contracts import FoldData
    from experiment.explain.explanations import explain
    from experiment.report.explained import FOLDER, Explained
    from experiment.store.runs import Run
    from experiment.terminal.consoles import out, quiet

    quiet()
    run = Run.load(Path(config["run"]))
    data = build(relocated(run.config["data"], FoldData), FoldData)
    data.load()
    folder = Path(config["out"]).resolve() if config["out"] else run.path.resolve() / FOLDER
    explain(run, data, config["images"], config["seed"], folder)
    explained = Explained.of(run, folder)
    if explained.note:
        out.print(explained.note, highlight=False)
    out.print(f"heat maps: {explained.write(folder)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sleep_while_waiting()
    main()
