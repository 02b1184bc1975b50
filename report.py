"""Report on finished runs, or compare them: `python report.py run=runs/ensemble-…`. See conf/report.yaml."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiment.core.build import plain
from experiment.terminal.cli import one_line_errors

CONF = Path(__file__).resolve().parent / "conf"


@one_line_errors
@hydra.main(config_path=str(CONF), config_name="report")
@one_line_errors
def main(cfg: DictConfig) -> None:
    """Read the runs, gather what they prove, write the page. Nothing is trained."""
    config = plain(cfg)
    from experiment.report.requests import build_report, load_runs
    from experiment.terminal.consoles import out

    runs, folder = load_runs(config["run"], config["out"])
    page = build_report(runs, folder)
    out.print(f"report: {page}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
