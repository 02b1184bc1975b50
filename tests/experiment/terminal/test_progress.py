import time
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from experiment.core.tables import Split
from experiment.terminal.progress import Progress
from experiment.terminal.pulses import EVERY

MARKER = {"seconds": 9.0, "stages": {"train": 4.0}, "images": {"train": 200}, "steps": {"model": 3.6, "loader": 0.4}}
SPLIT = Split(0, 3, fit=("a",), val=(), test=("b",))


def test_a_log_file_gets_a_line_a_fold_with_what_is_left() -> None:
    text = StringIO()
    progress = Progress(Console(file=text, width=200))
    with progress.job(["resnet"] * 2):
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
    with progress.job(["resnet"] * 2), progress.fold("resnet", SPLIT):
        assert progress.bars is not None
        assert [task.description for task in progress.bars.bars.tasks] == ["folds", "resnet repeat-0/fold-3"]
    assert progress.bars is None


def test_a_terminal_shows_the_folds_of_other_processes() -> None:
    progress, elsewhere = Progress(Console(file=StringIO(), force_terminal=True)), Progress(Console(file=StringIO()))
    with progress.job(["resnet"] * 2), progress.others() as folder:
        assert progress.bars is not None
        elsewhere.tell_in(folder)
        with elsewhere.fold("resnet", SPLIT):
            assert _soon(lambda: _bars(progress) == {"folds": (0, 2), "resnet repeat-0/fold-3": (0, None)})
            time.sleep(EVERY)
            elsewhere.trained(images=16, step=5, steps=40, epoch=1)
            assert _soon(lambda: _bars(progress) == {"folds": (0, 2), "resnet repeat-0/fold-3": (5, 40)})
        assert _soon(lambda: _bars(progress) == {"folds": (0, 2)})
    assert folder is not None
    assert not folder.exists()


def _bars(progress: Progress) -> dict[str, tuple[float, float | None]]:
    assert progress.bars is not None
    return {task.description: (task.completed, task.total) for task in progress.bars.bars.tasks}


def _soon(holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 20
    while not holds() and time.monotonic() < ends:
        time.sleep(0.02)
    return holds()


def test_nobody_writes_where_nobody_looks() -> None:
    progress = Progress(Console(file=StringIO()))
    with progress.job(["resnet"]), progress.others() as folder:
        assert folder is None


def test_a_fold_that_breaks_is_not_counted() -> None:
    progress = Progress(Console(file=StringIO()))
    with pytest.raises(RuntimeError), progress.job(["resnet"]), progress.fold("resnet", SPLIT):
        raise RuntimeError
    assert progress.remaining.done == 0
