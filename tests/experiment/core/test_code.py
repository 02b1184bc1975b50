import importlib
import sys
from pathlib import Path

import pytest

from experiment.core.code import changed, code_digest, code_of

NET = '''"""A network."""

import torch
from blocks.conv import width

def channels():
    """Return the channels."""
    from blocks.late import more
    return 4 * width + more  # wide
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of a user, with a network that imports two modules; call it to read the network's code again."""
    folder = tmp_path / "blocks"
    folder.mkdir()
    for name, text in {
        "__init__": "", "net": NET + "\n\nclass Net: pass\n", "conv": "from . import base\nwidth = 2\n", "base": "x = 1\n",
        "late": "more = 3\n", "unused": "y = 1\n",
    }.items():  # fmt: skip
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "blocks"]:
        del sys.modules[name]


def code(module: str = "blocks.net"):
    return code_of([importlib.import_module(module).Net])


def test_a_class_counts_with_all_modules_of_the_project_that_it_imports(package: Path):
    assert set(code()) == {"blocks", "blocks.net", "blocks.conv", "blocks.base", "blocks.late"}


@pytest.mark.parametrize("module", ["net", "conv", "base", "late"])
def test_a_changed_number_in_any_of_them_counts_and_is_named(package: Path, module: str):
    before = code()
    file = package / f"{module}.py"
    file.write_text(file.read_text().replace("4 *", "5 *").replace("= 2", "= 7").replace("= 1", "= 8").replace("= 3", "= 9"))
    after = code()
    assert code_digest(after) != code_digest(before)
    assert changed(after, before) == changed(before, after) == [f"blocks.{module}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# wide", "# as wide as the paper's"),
        ('"""A network."""', '"""The network of the paper."""'),
        ('    """Return the channels."""\n', ""),
        ("4 * width + more", "(4*width) + more"),
        ("import torch\n", "\n\nimport torch\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(package: Path, old: str, new: str):
    before = code()
    file = package / "net.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert code_digest(code()) == code_digest(before)


def test_a_module_may_be_renamed(package: Path):
    before = code()
    (package / "conv.py").rename(package / "convolution.py")
    (package / "net.py").write_text((package / "net.py").read_text().replace("blocks.conv ", "blocks.convolution "))
    (package / "net.py").rename(package / "network.py")
    importlib.invalidate_caches()
    assert code_digest(code("blocks.network")) == code_digest(before)


def test_a_module_that_is_not_imported_does_not_count(package: Path):
    before = code()
    (package / "unused.py").write_text("y = 2\n")
    assert code() == before


def test_two_classes_of_one_module_share_their_code(package: Path):
    from blocks.net import Net

    assert code_of([Net, Net]) == code_of([Net])


def test_installed_packages_do_not_count():
    import torch

    assert code_of([torch.nn.Linear]) == {}
