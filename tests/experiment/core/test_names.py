from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment.core.errors import UserError
from experiment.core.names import folder, folder_name


@pytest.mark.parametrize("name", ["resnet", "a.b", "..a", "9_lives", "-x"])
def test_names_of_folders(name: str) -> None:
    assert folder_name("model.name", name) == name


@pytest.mark.parametrize("value", ["../x", "..", ".", "", "a/b", "a b", "[/red]", "ä", "a\n", None, ["/red"], 3])
def test_what_cannot_name_a_folder_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(UserError, match=r"^model\.name=.*is not allowed; it names a folder") as caught:
        folder_name("model.name", value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=8))
def test_a_name_never_leads_elsewhere(text: str) -> None:
    try:
        name = folder_name("sweep.name", text)
    except UserError:
        return
    assert (Path("/runs") / name).resolve().parent == Path("/runs")


@pytest.mark.parametrize(("value", "shown"), [("", "="), ("  ", "="), (None, "=null"), (["a"], r"=\['a'\]")])
def test_a_folder_must_be_given(value: object, shown: str) -> None:
    with pytest.raises(UserError, match=rf"paths\.runs{shown}.* is not allowed; give a folder, such as paths\.runs=runs"):
        folder("paths.runs", value)


def test_a_folder_need_not_exist_but_must_not_be_a_file(tmp_path: Path) -> None:
    assert folder("paths.runs", f"{tmp_path}/a/b") == tmp_path / "a" / "b"
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(UserError, match=r"file is a file\. Give a folder"):
            folder("paths.runs", f"{tmp_path}/{path}")
    with pytest.raises(UserError, match="cannot be a folder: File name too long"):
        folder("paths.runs", f"{tmp_path}/{'x' * 300}")
