"""The floors of the house: which folders import which, function-local imports counted."""

from itertools import combinations
from pathlib import Path

import grimp
import pytest

PACKAGES = ("experiment", "datamodules", "lightning_modules", "callbacks")
ROOT = Path(__file__).resolve().parents[1]


def folder_of(module: str) -> str:
    """The folder that a module is in: a floor of the engine, or one of the other packages."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "experiment" else parts[0]


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    """Every pair of folders of which the first imports the second."""
    graph = grimp.build_graph(*PACKAGES)
    pairs = ((folder_of(m), folder_of(other)) for m in graph.modules for other in graph.find_modules_directly_imported_by(m))
    return {pair for pair in pairs if pair[0] != pair[1]}


def test_no_two_folders_import_each_other(imports: set[tuple[str, str]]) -> None:
    folders = sorted({folder for pair in imports for folder in pair})
    mutual = [pair for pair in combinations(folders, 2) if {pair, pair[::-1]} <= imports]
    print(f"folder pairs that import each other: {len(mutual)}")
    assert len(imports) > 20, "the graph is not empty"
    assert mutual == []


def test_the_engine_has_folders_and_no_loose_modules() -> None:
    assert [path.name for path in (ROOT / "experiment").glob("*.py")] == ["__init__.py"]


def test_the_lowest_floor_imports_nothing_of_ours(imports: set[tuple[str, str]]) -> None:
    assert {second for first, second in imports if first == "experiment.core"} == set()
