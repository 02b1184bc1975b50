"""Report on finished runs, or compare them: `python report.py run=runs/ensemble-…`. See conf/report.yaml."""

from typing import Any

from experiment.terminal.cli import command


@command("report")
def main(config: dict[str, Any]) -> None:
    """Read the runs and write the page. Nothing is trained."""
    from experiment.report.requests import report_on, requested
    from experiment.terminal.consoles import out

    runs, folder = requested(config["run"], config["out"])
    page = report_on(runs, folder)
    out.print(f"report: {page}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
