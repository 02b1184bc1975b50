"""Entries are computed once, by however many processes, come back to the bit, and are recomputed where they are damaged."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from experiment.core.errors import UserError
from experiment.store import disk_cache
from experiment.store.disk_cache import BLOCK, DiskCache, computed

ROWS = 2 * BLOCK + 5


class Network:
    """Gives rows that name themselves, and remembers which it was asked for."""

    def __init__(self, width: int = 4) -> None:
        self.asked: list[range] = []
        self.width = width

    def __call__(self, rows: range) -> np.ndarray:
        self.asked.append(rows)
        return np.tile(np.array(rows, dtype=np.float32)[:, None], (1, self.width))


def room(folder: Path, gigabytes: float = 1.0) -> DiskCache:
    return DiskCache(folder, gigabytes, "paths.cache_gb")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def test_rows_are_computed_once_and_come_back_to_the_bit(tmp_path: Path) -> None:
    network = Network()
    first = room(tmp_path).get({"network": "n"}, ROWS, network)
    again = room(tmp_path).get({"network": "n"}, ROWS, network)
    assert network.asked == [range(0, BLOCK), range(BLOCK, 2 * BLOCK), range(2 * BLOCK, ROWS)]
    for blocks in (first, again):
        assert len(blocks) == ROWS
        assert np.array_equal(blocks.columns(range(4)), Network()(range(ROWS)))
        assert blocks[ROWS - 1][0] == ROWS - 1


def test_rows_are_mapped_and_not_held_in_memory(tmp_path: Path) -> None:
    assert all(isinstance(block, np.memmap) for block in room(tmp_path).get({}, ROWS, Network()).blocks)


def test_rows_without_a_cache_are_the_same(tmp_path: Path) -> None:
    assert np.array_equal(
        computed(ROWS, Network()).columns(range(4)), room(tmp_path).get({}, ROWS, Network()).columns(range(4))
    )


def test_another_description_is_another_entry(tmp_path: Path) -> None:
    network = Network()
    for described in ({"network": "n"}, {"network": "m"}, {"network": "n", "symmetries": 8}):
        room(tmp_path).get(described, 3, network)
    assert len(network.asked) == 3


def _other_array(file: Path) -> None:
    with file.open("wb") as content:
        np.save(content, np.zeros((BLOCK - 1, 4), dtype=np.float32))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: f.write_bytes(b""),
        lambda f: f.write_bytes(f.read_bytes()[:-9]),
        lambda f: f.write_bytes(f.read_bytes()[:60]),
        lambda f: f.write_bytes(b"PK\x03\x04" + bytes(1000)),
        lambda f: f.write_bytes(np.random.default_rng(0).bytes(2000)),
        lambda f: f.write_bytes(f.read_bytes()[:10] + b"{" * 118 + f.read_bytes()[128:]),
        _other_array,
        lambda f: f.unlink(),
    ],
    ids=["empty", "cut off", "cut in its header", "a zip", "garbage", "garbage as header", "fewer rows", "gone"],
)
def test_a_damaged_block_alone_is_computed_again(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    network = Network()
    room(tmp_path).get({}, ROWS, network)
    damage(files(tmp_path)[1])
    assert np.array_equal(room(tmp_path).get({}, ROWS, network).columns(range(4)), Network()(range(ROWS)))
    assert network.asked[3:] == [range(BLOCK, 2 * BLOCK)]


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    network = Network()
    room(tmp_path).get({}, 3, network)
    file = files(tmp_path)[0]
    with file.open("wb") as content:
        np.save(content, np.array([Evil()] * 3, dtype=object), allow_pickle=True)
    room(tmp_path).get({}, 3, network)
    assert len(network.asked) == 2
    assert not (tmp_path / "ran").exists()


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    network = Network(width=1000)  # 12 kB for three rows
    cache = room(tmp_path, 30_000 / 2**30)
    for age, name in ((300, "old"), (200, "older but used")):
        cache.get({"network": name}, 3, network)
        newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (newest.stat().st_atime, newest.stat().st_mtime - age))
    for name, asked in (("old", 2), ("new", 3), ("old", 3), ("new", 3), ("older but used", 4)):
        cache.get({"network": name}, 3, network)
        assert len(network.asked) == asked, name


def test_without_room_nothing_is_kept_or_computed(tmp_path: Path) -> None:
    network = Network()
    assert room(tmp_path, 0).get({}, ROWS, network) is None
    assert network.asked == []
    assert room(tmp_path, 10 / 2**30).get({}, ROWS, network) is None
    assert files(tmp_path) == []
    assert len(network.asked) == 1, "the first block shows that the rest would not fit"


def test_a_negative_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"paths.cache_gb=-1 is not allowed; take 0 \(keep none\) or more\."):
        room(tmp_path, -1)


def test_a_block_that_another_process_is_at_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process holds the middle block's lock, and finishes it while this one waits."""
    room(tmp_path).get({}, ROWS, Network())
    middle = files(tmp_path)[1]
    content = middle.read_bytes()
    middle.unlink()
    other = FileLock(middle.with_suffix(".lock"))
    other.acquire()

    def finished(_seconds: float) -> None:
        middle.write_bytes(content)
        other.release()

    monkeypatch.setattr(disk_cache.time, "sleep", finished)
    network = Network()
    assert np.array_equal(room(tmp_path).get({}, ROWS, network).columns(range(4)), Network()(range(ROWS)))
    assert network.asked == []


def _fill(folder: Path, count: Any, go: Any) -> None:
    def rows(block: range) -> np.ndarray:
        with count.get_lock():
            count.value += len(block)
        return Network()(block)

    go.wait()
    got = room(folder).get({}, 20 * BLOCK, rows)
    assert np.array_equal(got.columns(range(4)), Network()(range(20 * BLOCK)))


def test_processes_fill_an_entry_together_and_no_row_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count, go = context.Value("i", 0), context.Event()
    both = [context.Process(target=_fill, args=(tmp_path, count, go)) for _ in range(2)]
    for process in both:
        process.start()
    go.set()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert count.value == 20 * BLOCK


def test_columns_are_those_asked_for_in_their_order() -> None:
    blocks = computed(ROWS, lambda rows: np.array([[row, -row, 10 * row] for row in rows], dtype=np.float32))
    assert np.array_equal(blocks.columns([2, 0]), np.stack([10 * np.arange(ROWS), np.arange(ROWS)], axis=1))
