import json
import math
from io import StringIO
from pathlib import Path

from rich.console import Console

from experiment.core.cost import cost
from experiment.metrics.scores import METRICS
from experiment.store.results import Result
from experiment.store.runs import Run
from experiment.terminal.summary import print_published, print_results


def result(title: str, value: float, done: int = 5) -> Result:
    scores = {
        name: {"value": value, "folds": [], "mean": value, "sd": 0.0125, "low": value - 0.25, "high": math.inf}
        for name in METRICS
    }
    return Result(title, Run.of(Path("runs"), title, {}, {}), done, 5, scores, cost([]))


def printed(*results: Result, width: int = 80) -> str:
    text = StringIO()
    print_results(results, Console(file=text, width=width))
    return text.getvalue()


def test_each_model_has_its_row_of_all_metrics_and_below_it_the_interval() -> None:
    lines = [line.split() for line in printed(result("resnet", 0.875), result("ensemble", 0.9)).splitlines()]
    assert ["resnet", *["0.875"] * len(METRICS)] in lines
    assert ["ensemble", *["0.900"] * len(METRICS)] in lines
    assert ["95", "%", "from", *["0.625"] * len(METRICS)] in lines
    assert ["to", *["–"] * len(METRICS)] in lines  # undefined


def test_it_fits_an_eighty_column_terminal() -> None:
    text = printed(result("resnet_svm", 0.5))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_unfinished_run_says_how_far_it_is() -> None:
    text = printed(result("resnet", 0.5, done=2))
    assert "2/5 folds" in text
    assert "95 %" not in text


def test_doubts_about_a_model_are_in_the_first_screen(tmp_path: Path) -> None:
    evidence = {"headline": ["net [b], balanced accuracy 0.500."], "doubts": ["net [b]: calls 100% of all images present."]}
    (tmp_path / "evidence.json").write_text(json.dumps(evidence))
    text = StringIO()
    print_published(tmp_path / "report.html", Console(file=text, width=200))
    assert text.getvalue().splitlines() == [
        "net [b], balanced accuracy 0.500.",
        "warning: net [b]: calls 100% of all images present.",
        f"report: {tmp_path / 'report.html'}",
    ]
