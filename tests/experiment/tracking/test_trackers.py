from pathlib import Path

import pytest

from experiment.tracking.trackers import Tracker, Trackers

FOLD = "repeat-0/fold-1"


class Counting(Tracker):
    """Yields itself as the logger of a fold."""

    def fold(self, tracked, split):
        from contextlib import nullcontext

        return nullcontext(self)


def test_without_trackers_a_fold_has_no_logger_and_nothing_is_written(tmp_path, tracked):
    with Trackers().fold(tracked(tmp_path), FOLD) as loggers:
        assert loggers == []
    assert list(tmp_path.iterdir()) == []


def test_a_fold_has_the_loggers_of_all_trackers_that_have_one(tmp_path, tracked):
    one, other = Counting(), Counting()
    with Trackers([one, Tracker(), other]).fold(tracked(tmp_path), FOLD) as loggers:
        assert loggers == [one, other]


@pytest.mark.parametrize(("folds", "alone", "in_sweep"), [("auto", 1, 0), (True, 1, 1), (False, 0, 0)])
def test_folds_of_trials_are_tracked_on_request(tmp_path, tracked, folds, alone, in_sweep):
    for sweep, expected in ((None, alone), (tmp_path / "sweep", in_sweep)):
        with Trackers([Counting()], folds).fold(tracked(tmp_path, sweep=sweep), FOLD) as loggers:
            assert len(loggers) == expected


def test_a_name_is_part_of_a_path_and_not_too_long_for_one(tracked):
    assert tracked(Path("run")).name == "net lr=0.1 trunk=a-b"
    assert tracked(Path("run"), settings="").name == "net"
    assert len(tracked(Path("run"), settings="x" * 500).name) == 120
