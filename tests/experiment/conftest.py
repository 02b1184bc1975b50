from collections.abc import Callable, Sequence

import pandas as pd
import pytest

from experiment.core.tables import SampleTable

MakeSamples = Callable[..., SampleTable]


@pytest.fixture(scope="session")
def make_samples() -> MakeSamples:
    """Sample tables from counts: ``make_samples([(2, 1), (0, 3)])`` has 2 + 1 images in group g00 and 0 + 3 in g01."""

    def make(counts: Sequence[Sequence[int]], grouped: bool = True) -> SampleTable:
        rows = [
            (f"g{group:02d}", target)
            for group, per_class in enumerate(counts)
            for target, count in enumerate(per_class)
            for _ in range(count)
        ]
        ids = [f"s{number:03d}" for number in range(len(rows))]
        table = pd.DataFrame(
            {
                "sample_id": ids,
                "target": [target for _, target in rows],
                "group": [group for group, _ in rows] if grouped else ids,
                "digest": [f"pixels of {sample}" for sample in ids],
            }
        )
        classes = ("absent", "present", "other", "fourth")[: len(counts[0])]
        return SampleTable(table, classes, "present", grouped)

    return make
