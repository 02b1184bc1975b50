import warnings
from dataclasses import replace

from experiment.core.folds import FoldScheme
from experiment.core.tables import SampleTable
from experiment.run.job import describe
from experiment.terminal.consoles import quiet


def test_missing_groups_and_ignored_groups_are_said(tiny_data) -> None:
    samples: SampleTable = tiny_data.samples
    assert "12 groups" in describe(samples, FoldScheme())
    assert "no groups given" in describe(replace(samples, grouped=False), FoldScheme())
    assert "warning: groups are ignored" in describe(samples, FoldScheme(grouped=False))
    assert "5 folds × 3 repeats, by group" in describe(samples, FoldScheme(repeats=3))


def test_only_the_listed_warnings_are_silenced() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet()
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck", stacklevel=1)
        warnings.warn("your data is on fire", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["your data is on fire"]
