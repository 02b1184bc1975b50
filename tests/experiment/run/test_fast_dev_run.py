from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.core.folds import FoldScheme
from experiment.run.fast_dev_run import one_batch


@given(
    counts=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=9, max_size=14),
    size=st.integers(4, 32),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=20, deadline=None)
def test_a_batch_of_each_part_has_as_many_rows_of_each_class_and_as_many_groups_as_there_can_be(
    make_samples, counts, size, seed
):
    samples = make_samples(counts)
    whole = next(iter(FoldScheme(k=3).split(samples, seed)))
    split = one_batch(whole, samples, size)
    for name in ("fit", "val", "test"):
        all_rows, rows = (samples.select(getattr(one, name)) for one in (whole, split))
        assert set(rows["sample_id"]) <= set(all_rows["sample_id"])
        for target, mine in rows.groupby("target"):
            available = all_rows[all_rows["target"] == target]
            assert len(mine) == min(size // 2, len(available))
            assert mine["group"].nunique() == min(len(mine), available["group"].nunique())
        assert set(rows["target"]) == {0, 1}
