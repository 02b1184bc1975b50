"""A folder of images: what is read from labels.csv or sub-folders, and what a user is told about each mistake."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.folder import FolderDataModule
from experiment.core.errors import UserError
from experiment.core.tables import SampleTable


def draw(root: Path, *names: str) -> None:
    """Images that differ from each other, by name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(path)


def label(root: Path, *lines: str, name: str = "labels.csv") -> None:
    (root / name).write_text("\n".join(lines) + "\n")


def loaded(root: Path, **settings: Any) -> SampleTable:
    return FolderDataModule(root=str(root), image_size=32, **settings).load()


def error_of(root: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        loaded(root, **settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images, not yet labelled."""
    draw(tmp_path, "a.png", "b.png", "c.png", "d.png")
    return tmp_path


LABELLED = ("image,label", "a.png,no", "b.png,yes", "c.png,no", "d.png,yes")
GROUPED = ("image,label,group", "a.png,no,p1", "b.png,yes,p1", "c.png,no,p2", "d.png,yes,p2")


def test_a_labels_file_gives_ids_targets_and_groups(root: Path) -> None:
    label(root, *GROUPED)
    samples = loaded(root)
    assert samples.sample_id.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert samples.classes == ("no", "yes")
    assert samples.target.tolist() == [0, 1, 0, 1]
    assert samples.group.tolist() == ["p1", "p1", "p2", "p2"]
    assert samples.grouped


def test_without_groups_each_image_is_its_own(root: Path) -> None:
    label(root, *LABELLED)
    samples = loaded(root)
    assert samples.group.tolist() == samples.sample_id.tolist()
    assert not samples.grouped


def test_further_columns_and_their_order_do_not_matter(root: Path) -> None:
    label(root, *GROUPED)
    plain = loaded(root)
    label(root, "age,group,label,image", "7,p1,no,a.png", ",p1,yes,b.png", "9,p2,no,c.png", "x,p2,yes,d.png")
    assert loaded(root).rows.equals(plain.rows)


def test_spaces_around_values_do_not_matter(root: Path) -> None:
    label(root, "image, label, group", "a.png , no, p1", " b.png,yes ,p1", "c.png,no, p2 ", "d.png, yes,p2")
    samples = loaded(root)
    assert samples.classes == ("no", "yes")
    assert sorted(set(samples.group)) == ["p1", "p2"]


def test_labels_and_groups_that_look_like_numbers_stay_text(root: Path) -> None:
    label(root, "image,label,group", "a.png,0,01", "b.png,1,01", "c.png,0,1", "d.png,1,1")
    samples = loaded(root)
    assert samples.classes == ("0", "1")
    assert samples.group.tolist() == ["01", "01", "1", "1"]


def test_a_label_called_na_or_null_is_a_label(root: Path) -> None:
    label(root, "image,label", "a.png,NA", "b.png,null", "c.png,NA", "d.png,null")
    assert loaded(root).classes == ("NA", "null")


def test_a_byte_order_mark_as_excel_writes_it_does_not_matter(root: Path) -> None:
    (root / "labels.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(LABELLED).encode())
    assert len(loaded(root).rows) == 4


def test_another_labels_file_can_be_named(root: Path) -> None:
    label(root, *LABELLED, name="mine.csv")
    assert len(loaded(root, labels="mine.csv").rows) == 4


def test_images_that_the_labels_file_does_not_name_are_left_out(root: Path) -> None:
    label(root, *LABELLED)
    draw(root, "z.png", "sub/y.png")
    assert loaded(root).sample_id.tolist() == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize("spelling", ["./a.png", "sub/../a.png", ".//a.png"])
def test_spellings_of_one_path_are_one_sample(root: Path, spelling: str) -> None:
    (root / "sub").mkdir()
    label(root, "image,label", f"{spelling},no", *LABELLED[2:])
    assert loaded(root).sample_id.tolist()[0] == "a.png"


def test_an_absolute_path_below_the_root_is_the_same_sample(root: Path) -> None:
    label(root, "image,label", f"{root / 'a.png'},no", *LABELLED[2:])
    assert loaded(root).sample_id.tolist()[0] == "a.png"


def test_sub_folders_are_classes_and_are_searched_at_any_depth(tmp_path: Path) -> None:
    draw(tmp_path, "no/a.png", "no/deep/er/b.jpg", "yes/c.tif", "yes/d.PNG", "stray.png")
    samples = loaded(tmp_path)
    assert samples.sample_id.tolist() == ["no/a.png", "no/deep/er/b.jpg", "yes/c.tif", "yes/d.PNG"]
    assert [samples.classes[t] for t in samples.target] == ["no", "no", "yes", "yes"]
    assert samples.group.tolist() == samples.sample_id.tolist()
    assert not samples.grouped


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    draw(tmp_path, "no/a.png", "yes/b.png", ".trash/c.png", "no/.d.png")
    (tmp_path / "no" / "notes.txt").write_text("x")
    assert loaded(tmp_path).sample_id.tolist() == ["no/a.png", "yes/b.png"]


def test_the_positive_class_is_the_last_or_the_one_named(root: Path) -> None:
    label(root, *LABELLED)
    assert loaded(root).positive == "yes"
    assert loaded(root, positive="no").positive == "no"


def test_an_unknown_positive_class_is_named_with_the_known_ones(root: Path) -> None:
    label(root, *LABELLED)
    text = error_of(root, positive="yess")
    assert "data.positive=yess" in text
    assert "no, yes" in text


def test_a_root_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*/absent is not a folder"):
        FolderDataModule(root=str(tmp_path / "absent"), image_size=32)


def test_an_empty_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    text = error_of(tmp_path)
    assert str(tmp_path) in text
    assert "labels.csv" in text
    assert "sub-folders" in text
    assert ".png" in text
    assert "data.labels=" in text


def test_absent_images_are_counted_and_named(root: Path) -> None:
    label(root, *LABELLED, "x.png,no", "y.png,yes")
    text = error_of(root)
    assert "labels.csv" in text
    assert "2 images that do not exist: x.png, y.png" in text


def test_of_many_absent_images_a_few_are_named(root: Path) -> None:
    label(root, *LABELLED, *(f"gone-{n}.png,no" for n in range(20)))
    text = error_of(root)
    assert "gone-0.png" in text
    assert "and 15 more" in text


def test_one_class_only_is_named(root: Path) -> None:
    label(root, "image,label", "a.png,no", "b.png,no")
    assert "all 2 images are of the class 'no'; at least two classes" in error_of(root)


def test_unreadable_images_are_named_with_the_reason(root: Path) -> None:
    label(root, *LABELLED)
    (root / "b.png").write_bytes((root / "b.png").read_bytes()[:60])
    (root / "c.png").write_text("not an image")
    text = error_of(root)
    assert text.startswith("2 unreadable images: b.png (")
    assert "c.png (" in text
    assert "Replace or remove them" in text


@pytest.mark.parametrize("path", ["../x.png", "sub/../../x.png", "/etc/hostname"])
def test_a_path_outside_the_root_is_named(root: Path, path: str) -> None:
    inner = root / "inner"
    draw(inner, "a.png", "b.png")
    draw(root, "x.png")
    label(inner, "image,label", "a.png,no", "b.png,yes", f"{path},no")
    text = error_of(inner)
    assert f"outside data.root={inner}" in text
    assert path in text


def test_a_link_out_of_the_root_is_outside(root: Path) -> None:
    inner = root / "inner"
    draw(inner, "a.png", "b.png")
    (inner / "link.png").symlink_to(root / "c.png")
    label(inner, "image,label", "a.png,no", "b.png,yes", "link.png,no")
    assert "link.png" in error_of(inner)


@pytest.mark.parametrize("again", ["a.png,no", "./a.png,no", "a.png,yes"])
def test_a_row_given_twice_is_named(root: Path, again: str) -> None:
    label(root, *LABELLED, again)
    assert "listed twice: a.png. Keep one row per image" in error_of(root)


def copied(root: Path) -> None:
    """b.png gets the pixels of a.png in a file of other bytes."""
    Image.open(root / "a.png").save(root / "b.png", compress_level=1)


def test_the_same_image_under_two_labels_is_named(root: Path) -> None:
    copied(root)
    label(root, *LABELLED)
    text = error_of(root)
    assert "same image under two labels (no, yes): a.png, b.png" in text
    assert "data.on_duplicate=tie" in text


def test_the_same_image_in_two_groups_is_named(root: Path) -> None:
    copied(root)
    label(root, "image,label,group", "a.png,no,p1", "b.png,no,p2", "c.png,yes,p1", "d.png,yes,p2")
    text = error_of(root)
    assert "same image under two groups (p1, p2): a.png, b.png" in text
    assert "data.on_duplicate=tie" in text


def test_tie_puts_groups_that_share_an_image_into_one(root: Path) -> None:
    copied(root)
    draw(root, "e.png")
    label(root, "image,label,group", "a.png,no,p1", "b.png,no,p2", "c.png,yes,p1", "d.png,yes,p2", "e.png,no,p3")
    assert loaded(root, on_duplicate="tie").group.tolist() == ["p1", "p1", "p1", "p1", "p3"]


def test_tie_follows_chains_of_shared_images(root: Path) -> None:
    copied(root)
    Image.open(root / "c.png").save(root / "d.png")
    label(root, "image,label,group", "a.png,no,p1", "b.png,no,p2", "c.png,yes,p2", "d.png,yes,p3")
    assert set(loaded(root, on_duplicate="tie").group) == {"p1"}


def test_copies_without_groups_are_tied_without_asking(root: Path) -> None:
    copied(root)
    label(root, "image,label", "a.png,no", "b.png,no", "c.png,yes", "d.png,yes")
    assert loaded(root).group.tolist() == ["a.png", "a.png", "c.png", "d.png"]


def test_an_unknown_way_with_duplicates_is_named(root: Path) -> None:
    label(root, *LABELLED)
    assert "data.on_duplicate=ty is not allowed; allowed: error, tie" in error_of(root, on_duplicate="ty")


@pytest.mark.parametrize(
    ("row", "column"), [("c.png,,p2", "label"), ("c.png,  ,p2", "label"), (",no,p2", "image"), ("c.png,no,", "group")]
)
def test_an_empty_value_is_told_with_its_line(root: Path, row: str, column: str) -> None:
    label(root, *GROUPED[:3], row, *GROUPED[4:])
    assert f"labels.csv line 4 has an empty {column}" in error_of(root)


def test_the_line_told_counts_blank_lines(root: Path) -> None:
    label(root, *GROUPED[:3], "", "c.png,,p2")
    assert "labels.csv line 5 has an empty label" in error_of(root)


def test_a_row_cut_short_is_told_as_an_empty_value(root: Path) -> None:
    label(root, *LABELLED, "d.png")
    assert "labels.csv line 6 has an empty label" in error_of(root)


def test_a_row_too_long_is_refused(root: Path) -> None:
    label(root, *LABELLED, "d.png,no,more,and more")
    assert "labels.csv" in error_of(root)


def test_a_comma_after_every_row_does_not_shift_the_columns(root: Path) -> None:
    label(root, LABELLED[0], *(f"{line}," for line in LABELLED[1:]))
    assert loaded(root).sample_id.tolist() == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize(("header", "missing"), [("file,label,group", "image"), ("image,class,group", "label")])
def test_a_missing_column_is_named_with_the_columns_found(root: Path, header: str, missing: str) -> None:
    label(root, header, *GROUPED[1:])
    text = error_of(root)
    assert f"labels.csv has no column '{missing}'" in text
    assert all(column in text for column in header.split(","))


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x81"])
def test_a_labels_file_that_is_no_csv_is_named(root: Path, content: bytes) -> None:
    (root / "labels.csv").write_bytes(content)
    assert "labels.csv" in error_of(root)


def test_a_labels_file_without_rows_is_named(root: Path) -> None:
    label(root, "image,label")
    assert "no images" in error_of(root)
