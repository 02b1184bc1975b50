from io import StringIO

import pytest
from rich.console import Console

from experiment.terminal.bars import FoldBars
from experiment.terminal.pulses import Pulse

FIRST, SECOND = "resnet repeat-0/fold-0", "resnet repeat-0/fold-1"


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> FoldBars:
    monkeypatch.setattr("time.perf_counter", lambda: 1000.0)
    return FoldBars(Console(file=StringIO(), width=120, force_terminal=True), folds=15)


def lines(bars: FoldBars) -> list[str]:
    console = Console(file=StringIO(), width=120)
    console.print(bars.bars.get_renderable())
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return [" ".join(line.replace("━", "").replace("╺", "").replace("╸", "").split()) for line in written.splitlines()]


def test_the_bar_of_folds_says_what_is_left(bars: FoldBars) -> None:
    assert lines(bars) == ["folds 0/15 0:00:00"]
    bars.finished(left=600.0)
    assert lines(bars) == ["folds 1/15 0:00:00 about 10.0 min left"]


def test_each_fold_at_work_has_a_bar_until_it_ends(bars: FoldBars) -> None:
    bars.show({FIRST: Pulse(10, 40, 2, 61.5, 20.0), SECOND: Pulse()})
    assert lines(bars)[1:] == [
        f"{FIRST} 10/40 0:00:00 epoch 2, 62 images/s, about 20 s left",
        f"{SECOND} 0/? 0:00:00",
    ]
    bars.show({SECOND: Pulse(1, None, 1, 60.0, None)})  # as many epochs as it takes
    assert lines(bars)[1:] == [f"{SECOND} 1/? 0:00:00 epoch 1, 60 images/s,"]
    bars.show({})
    assert lines(bars) == ["folds 0/15 0:00:00"]


def test_time_runs_on_between_two_estimates(bars: FoldBars, monkeypatch: pytest.MonkeyPatch) -> None:
    bars.finished(left=60.0)
    monkeypatch.setattr("time.perf_counter", lambda: 1045.0)
    assert lines(bars)[0].endswith("about 15 s left")
    monkeypatch.setattr("time.perf_counter", lambda: 1100.0)
    assert lines(bars)[0].endswith("about 0 s left")
