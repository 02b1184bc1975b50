"""A file or a folder is written at once or not at all."""

from pathlib import Path

import pytest

from experiment.store.files import creating, remove_temporary, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "config.yaml", "a long first version")
    write_text(tmp_path / "config.yaml", "short µ")
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "short µ"
    assert names(tmp_path) == ["config.yaml"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "oof.parquet"
    file.write_text("old")
    with replacing(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_that_fails_halfway_keeps_its_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "oof.parquet"
    file.write_text("old")

    def fail() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["oof.parquet"]


def test_a_file_that_the_block_did_not_write_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "oof.parquet").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "oof.parquet"):
        pass
    assert (tmp_path / "oof.parquet").read_text() == "old"


def test_of_two_writers_at_once_the_last_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    with replacing(file) as slow:
        slow.write_text("slow")
        write_text(file, "fast")
    assert file.read_text() == "slow"
    assert names(tmp_path) == ["sweep.json"]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with creating(tmp_path / "repeat-0" / "fold-3", "done") as temporary:
        (temporary / "done").touch()
        assert not (tmp_path / "repeat-0" / "fold-3").exists()
    assert names(tmp_path / "repeat-0") == ["fold-3"]


def test_temporary_folders_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".fold-3.12ab34cd", ".fold-3.unfinished", ".fold-33.12ab34cd", "fold-3"):
        (tmp_path / name).mkdir()
    (tmp_path / ".fold-3.lease").touch()
    remove_temporary(tmp_path / "fold-3")
    assert names(tmp_path) == [".fold-3.lease", ".fold-3.unfinished", ".fold-33.12ab34cd", "fold-3"]
