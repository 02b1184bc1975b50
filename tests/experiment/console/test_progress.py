from io import StringIO

import pytest
from rich.console import Console

from experiment.console.progress import Progress
from experiment.tables import Split

MARKER = {"seconds": 9.0, "stages": {"train": 4.0}, "images": {"train": 200}, "steps": {"model": 3.6, "loader": 0.4}}
SPLIT = Split(0, 3, fit=("a",), val=(), test=("b",))


def test_a_log_file_gets_a_line_a_fold_with_what_is_left() -> None:
    text = StringIO()
    progress = Progress(Console(file=text, width=200))
    with progress.job(2):
        for _ in range(2):
            with progress.fold("resnet", SPLIT):
                pass
            progress.finished("resnet", SPLIT, MARKER)
    first, second = text.getvalue().splitlines()
    assert first.startswith("[1/2] resnet repeat-0/fold-3: 9.0 s, 50 images/s, model busy 90%; about ")
    assert second.startswith("[2/2] ")
    assert second.endswith("about 0 s left")


def test_a_terminal_gets_bars_of_folds_that_go_away() -> None:
    text = StringIO()
    progress = Progress(Console(file=text, width=100, force_terminal=True))
    with progress.job(2), progress.fold("resnet", SPLIT):
        assert progress.bars is not None
        assert [task.description for task in progress.bars.tasks] == ["folds", "resnet repeat-0/fold-3"]
    assert progress.bars is None


def test_a_fold_that_breaks_is_not_counted() -> None:
    progress = Progress(Console(file=StringIO()))
    with pytest.raises(RuntimeError), progress.job(1), progress.fold("resnet", SPLIT):
        raise RuntimeError
    assert progress.done == 0
