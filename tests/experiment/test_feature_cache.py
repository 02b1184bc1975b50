import os
from pathlib import Path

import numpy as np
import pytest

from experiment.errors import UserError
from experiment.feature_cache import FeatureCache

PIXELS = ["a", "b", "c"]


class Network:
    """Counts how often it is asked."""

    def __init__(self, width: int = 4) -> None:
        self.asked, self.width = 0, width

    def __call__(self) -> np.ndarray:
        self.asked += 1
        return np.random.default_rng(self.asked).normal(size=(3, self.width)).astype(np.float32)


def test_features_are_computed_once_and_come_back_to_the_bit(tmp_path: Path) -> None:
    cache, network = FeatureCache(tmp_path, 1), Network()
    first = cache.get(PIXELS, {"network": "n"}, network)
    again = FeatureCache(tmp_path, 1).get(PIXELS, {"network": "n"}, network)
    assert network.asked == 1
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("pixels", "described"),
    [(["a", "b", "x"], {"network": "n"}), (["b", "a", "c"], {"network": "n"}), (PIXELS, {"network": "m"})],
)
def test_other_pixels_another_order_or_another_network_are_other_features(
    tmp_path: Path, pixels: list[str], described: dict[str, str]
) -> None:
    cache, network = FeatureCache(tmp_path, 1), Network()
    cache.get(PIXELS, {"network": "n"}, network)
    cache.get(pixels, described, network)
    assert network.asked == 2


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:-5])])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage) -> None:
    cache, network = FeatureCache(tmp_path, 1), Network()
    cache.get(PIXELS, {}, network)
    damage(next(tmp_path.glob("*.npy")))
    second = cache.get(PIXELS, {}, network)
    assert network.asked == 2
    assert np.array_equal(cache.get(PIXELS, {}, network), second)


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.mkdir, (str(tmp_path / "ran"),)

    cache, network = FeatureCache(tmp_path, 1), Network()
    cache.get(PIXELS, {}, network)
    np.save(next(tmp_path.glob("*.npy")), np.array([Evil()], dtype=object), allow_pickle=True)
    cache.get(PIXELS, {}, network)
    assert network.asked == 2
    assert not (tmp_path / "ran").exists()


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    network = Network(width=1000)  # 12 kB a file
    cache = FeatureCache(tmp_path, 30_000 / 2**30)
    for age, name in ((300, "old"), (200, "older but used")):
        cache.get(PIXELS, {"network": name}, network)
        newest = max(tmp_path.glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (newest.stat().st_atime, newest.stat().st_mtime - age))
    cache.get(PIXELS, {"network": "old"}, network)  # used now
    cache.get(PIXELS, {"network": "new"}, network)
    assert network.asked == 3
    cache.get(PIXELS, {"network": "old"}, network)
    cache.get(PIXELS, {"network": "new"}, network)
    assert network.asked == 3
    cache.get(PIXELS, {"network": "older but used"}, network)
    assert network.asked == 4


def test_no_room_keeps_nothing(tmp_path: Path) -> None:
    network = Network()
    FeatureCache(tmp_path / "none", 0).get(PIXELS, {}, network)
    assert not (tmp_path / "none").exists()
    FeatureCache(tmp_path, 10 / 2**30).get(PIXELS, {}, network)
    assert list(tmp_path.iterdir()) == []


def test_a_negative_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"paths.features_gb=-1 is not allowed; take 0 \(keep none\) or more\."):
        FeatureCache(tmp_path, -1)
