from pathlib import Path

import pytest

from experiment.terminal.pulses import EVERY, Folder, Pulse

FIRST, THIRD = Pulse(3, 40, 1, 61.5, 12.0), Pulse()
NAMES = "resnet repeat-0/fold-0", "resnet repeat-0/fold-2"


def test_each_process_leaves_its_pulse_and_takes_it_away(tmp_path: Path) -> None:
    one, other, seen = Folder(tmp_path), Folder(tmp_path), Folder(tmp_path)
    assert seen.read() == {}
    one.tell(NAMES[0], FIRST)
    other.tell(NAMES[1], THIRD)
    assert seen.read() == {NAMES[0]: FIRST, NAMES[1]: THIRD}
    one.end(NAMES[0])
    assert seen.read() == {NAMES[1]: THIRD}


def test_a_process_writes_as_often_as_is_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    folder = Folder(tmp_path)
    for step in range(1, 21):
        folder.tell(NAMES[0], Pulse(step))
        now += EVERY / 4
    assert folder.read() == {NAMES[0]: Pulse(17)}  # 1, 5, 9, 13, 17


def test_a_folder_that_cannot_be_written_ends_no_fold(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "away")
    folder.tell(NAMES[0], FIRST)
    folder.end(NAMES[0])
    assert folder.read() == {}
