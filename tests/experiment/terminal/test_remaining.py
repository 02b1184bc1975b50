import pytest

from experiment.terminal.remaining import Remaining


def test_folds_of_the_same_model_are_alike_and_some_are_worked_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    left = Remaining(["resnet", "resnet_svm"] * 5)
    assert left.seconds == 0  # nothing is known yet
    now += 140
    for _ in range(2):  # side by side
        left.finished("resnet", 140.0)
    assert left.seconds == 3 * 140 / 2
    now += 210
    for _ in range(3):
        left.finished("resnet", 140.0)
    left.finished("resnet_svm", 7.0)
    assert left.seconds == pytest.approx(4 * 7 / (707 / 350))
    assert (left.done, left.total) == (6, 10)
