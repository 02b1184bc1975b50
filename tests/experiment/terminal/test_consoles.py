import warnings
from dataclasses import replace
from io import StringIO

import pytest
from rich.table import Table

from experiment.core.folds import FoldScheme
from experiment.core.tables import SampleTable
from experiment.run.job import describe
from experiment.terminal.consoles import PlainConsole, quiet


def test_missing_groups_and_ignored_groups_are_said(tiny_data) -> None:
    samples: SampleTable = tiny_data.samples
    assert "12 groups" in describe(samples, FoldScheme())
    assert "no groups given" in describe(replace(samples, grouped=False), FoldScheme())
    assert "warning: groups are ignored" in describe(samples, FoldScheme(grouped=False))
    assert "5 folds × 3 repeats, by group" in describe(samples, FoldScheme(repeats=3))


def test_images_without_groups_are_split_by_image(tiny_data) -> None:
    lines = describe(replace(tiny_data.samples, grouped=False), FoldScheme(), ["mind the gap"]).splitlines()
    assert lines[1] == "5 folds, by image"
    assert lines[2].startswith("warning: no groups given")
    assert lines[3] == "warning: mind the gap"


def test_a_group_with_most_of_the_images_is_told(tiny_data) -> None:
    samples: SampleTable = tiny_data.samples
    most = replace(samples, rows=samples.rows.assign(group=["most"] * 48 + ["rest"] * 12))
    assert "warning: group most has 80% of the images" in describe(most, FoldScheme())
    assert "has" not in describe(samples, FoldScheme())


@pytest.mark.parametrize("text", ["[/red]", "[bold]", ":smile:", "[link=http://x]y[/link]"])
def test_markup_is_shown_and_not_obeyed(text: str) -> None:
    shown = StringIO()
    console = PlainConsole(file=shown, width=80)
    console.print(f"images: {text} 3")
    table = Table(text)
    table.add_row(text)
    console.print(table)
    assert shown.getvalue().startswith(f"images: {text} 3\n")
    assert shown.getvalue().count(text) == 3


def test_control_characters_are_shown_and_not_obeyed() -> None:
    shown = StringIO()
    PlainConsole(file=shown, width=80).print("a\x1b[2Jb\u202ec\nsecond line")
    assert shown.getvalue() == "a\\x1b[2Jb\\u202ec\nsecond line\n"


def test_only_the_listed_warnings_are_silenced() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet()
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck", stacklevel=1)
        warnings.warn("your data is on fire", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["your data is on fire"]
