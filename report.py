"""Report on finished runs, or compare them: `python report.py run=runs/ensemble-…`. See conf/report.yaml."""

from typing import Any

from experiment.terminal.cli import command


@command("report")
def main(config: dict[str, Any]) -> None:
    """Read the runs and write the page. Nothing is trained."""
    from experiment.report.requests import build_report, load_runs
    from experiment.terminal.consoles import out

    runs, folder = load_runs(config["run"], config["out"])
    page = build_report(runs, folder, config["heat_maps"])
    out.print(f"report: {page}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
