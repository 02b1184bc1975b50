from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.explain.selection import KINDS, select

CLASSES = ("absent", "other", "present")


def table(rows: list[tuple[str, str, float]], repeats: int = 1) -> pd.DataFrame:
    """Out-of-fold rows from (true class, decided class, probability of the decided one)."""
    p = pd.DataFrame(
        [{f"p/{name}": (sure if name == decided else (1 - sure) / 2) for name in CLASSES} for _, decided, sure in rows]
    )
    ids = [f"s{number:03d}" for number in range(len(rows))]
    first = p.assign(sample_id=ids, target=[true for true, _, _ in rows], fold=np.arange(len(rows)) % 2)
    return pd.concat([first.assign(repeat=repeat) for repeat in range(repeats)], ignore_index=True)


def test_each_kind_is_told_from_label_and_decision() -> None:
    oof = table(
        [
            ("present", "absent", 0.8), ("absent", "present", 0.8), ("absent", "other", 0.8), ("present", "present", 0.8),
            ("other", "other", 0.8),
        ]
    )  # fmt: skip
    chosen = select(oof, CLASSES, "present", 5, seed=0)
    assert chosen["kind"].tolist() == list(KINDS)
    assert chosen["sample_id"].tolist() == [f"s{number:03d}" for number in range(5)]
    assert chosen["p"].round(3).tolist() == [0.1, 0.8, 0.1, 0.8, 0.1]
    assert chosen["fold"].tolist() == [f"repeat-0/fold-{number % 2}" for number in range(5)]
    assert chosen[["label", "decided"]].iloc[0].tolist() == ["present", "absent"]


def test_the_most_certain_of_the_wrong_come_first() -> None:
    sure = [0.5, 0.9, 0.7, 0.6]
    oof = table([("present", "absent", one) for one in sure] + [("absent", "absent", 0.9)] * 4)
    chosen = select(oof, CLASSES, "present", 4, seed=0)
    assert chosen["kind"].tolist() == ["false negative"] * 2 + ["true negative"] * 2
    assert chosen["sample_id"].tolist()[:2] == ["s001", "s002"]


def test_another_seed_draws_other_right_images() -> None:
    oof = table([("present", "present", 0.9)] * 20)
    drawn = [tuple(select(oof, CLASSES, "present", 4, seed)["sample_id"]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


ROW = st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.floats(0.4, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40), st.integers(1, 50), st.integers(1, 3))
def test_images_are_shared_out_evenly_and_each_is_shown_once(rows, images: int, repeats: int) -> None:
    chosen = select(table(rows, repeats), CLASSES, "present", images, seed=0)
    assert len(chosen) == min(images, len(rows))
    assert chosen["sample_id"].is_unique
    assert chosen["kind"].map(KINDS.index).is_monotonic_increasing
    every, shown = (Counter(select(table(rows), CLASSES, "present", n, seed=0)["kind"]) for n in (len(rows), images))
    assert all(shown[kind] == every[kind] or shown[kind] >= max(shown.values()) - 1 for kind in every)
