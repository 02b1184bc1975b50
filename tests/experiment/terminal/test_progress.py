from io import StringIO
from typing import Any

from rich.console import Console

from experiment.core.tables import Split
from experiment.store.lease import Holder
from experiment.terminal.progress import Progress

MARKER = {"seconds": 9.0, "stages": {"train": 4.0}, "images": {"train": 200}, "steps": {"model": 3.6, "loader": 0.4}}
SPLIT = Split(0, 3, fit=("a",), val=(), test=("b",))


def test_a_log_file_gets_a_line_per_fold_with_what_is_left() -> None:
    text = StringIO()
    progress = Progress(Console(file=text, width=200))
    with progress.job([("resnet", 1)] * 2):
        for _ in range(2):
            progress.finished("resnet", SPLIT, MARKER)
    first, second = text.getvalue().splitlines()
    assert first.startswith("[1/2] resnet repeat-0/fold-3: 9.0 s, 50 images/s, model busy 90%; about ")
    assert second.startswith("[2/2] ")
    assert second.endswith("about 0 s left")


def bar(progress: Progress) -> tuple[str, float, float | None]:
    (task,) = progress.bar.tasks
    return task.description, task.completed, task.total


def test_a_terminal_gets_one_bar_over_the_epochs_of_all_folds() -> None:
    progress = Progress(Console(file=StringIO(), width=100, force_terminal=True))
    with progress.job([("resnet", 10), ("svm", 1), ("resnet", 10), ("svm", 1)]):
        assert bar(progress) == ("0/4 folds", 0, 22)
        progress.epoch("resnet", SPLIT.name, 4)
        progress.epoch("resnet", "repeat-0/fold-1", 2)
        progress.epoch("resnet", SPLIT.name, 5)
        assert bar(progress) == ("0/4 folds", 7, 22)
        progress.finished("resnet", SPLIT, MARKER)  # stopped early
        assert bar(progress) == ("1/4 folds", 12, 22)
        progress.finished("svm", SPLIT, MARKER)
        assert bar(progress) == ("2/4 folds", 13, 22)
    assert not progress.bar.tasks


def test_a_short_fold_of_a_sweep_has_no_line() -> None:
    text = StringIO()
    progress = Progress(Console(file=text), least=10.0)
    with progress.job([("resnet", 1)]):
        progress.finished("resnet", SPLIT, MARKER)
    assert text.getvalue() == ""


def test_a_worker_reports_the_epochs_of_its_fold() -> None:
    reports: list[Any] = []
    worker = Progress(Console(quiet=True), report=lambda *values: reports.append(values))
    worker.epoch("resnet", SPLIT.name, 3)
    assert reports == [("resnet", "repeat-0/fold-3", 3)]


def test_who_holds_a_fold_is_said_once() -> None:
    text = StringIO()
    progress = Progress(Console(file=text, width=200))
    holder = Holder("host", 17, None, 0.0, 0.0, stale=False, token="a")
    for _ in range(2):
        progress.waiting("resnet", SPLIT, holder)
    assert text.getvalue() == "resnet repeat-0/fold-3: process 17 on host works on it; it comes last\n"
