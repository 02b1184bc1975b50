"""Labels files and folders as people have them: read as they were meant, or refused in one line with the way out."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from datamodules.doubts import FIRST_FOLDER, SECOND_FOLDER
from datamodules.listing import FolderListing
from experiment.core.errors import UserError

IMAGES = ["a.png", "b.png", "c.png", "d.png"]
LABELS = ["no", "yes", "no", "yes"]
PATIENTS = ["p1", "p1", "p2", "p2"]
MEANT = list(zip(IMAGES, LABELS, PATIENTS, strict=True))
UNGROUPED = "image,label\n" + "".join(f"{image},{label}\n" for image, label, _ in MEANT)
GROUP_COLUMN = {"columns": {"group": "patient"}}
Options = dict[str, object]


def table(header: str = "image,label,group", separator: str = ",", rows: Sequence[Sequence[str]] = MEANT) -> str:
    return "".join(f"{line}\n" for line in [header, *(separator.join(row) for row in rows)])


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listing(root: Path, **options: object) -> FolderListing:
    return FolderListing(str(root), **options)  # type: ignore[arg-type]


def error_of(root: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        listing(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(root: Path, **options: object) -> list[tuple[str, str, str | None]]:
    return [(row.sample_id, row.label, row.group) for row in listing(root, **options).rows]


RIGHT: dict[str, tuple[str | bytes, Options]] = {
    "comma": (table(), {}),
    "semicolon": (table("image;label;group", ";"), {}),
    "tab": (table("image\tlabel\tgroup", "\t"), {}),
    "bar": (table("image|label|group", "|"), {}),
    "separator as Excel names it": ("sep=;\n" + table("image;label;group", ";"), {}),
    "header in capitals": (table("Image,LABEL,Group"), {}),
    "header with spaces": (table(" image , label , group "), {}),
    "header in quotes": (table('"image","label","group"'), {}),
    "semicolon, and a comma in the header": (table('image;label;group;"notes, if any"', ";"), {}),
    "mark of UTF-8": (b"\xef\xbb\xbf" + table().encode(), {}),
    "UTF-16, little end first": (b"\xff\xfe" + table().encode("utf-16-le"), {}),
    "UTF-16, big end first": (b"\xfe\xff" + table().encode("utf-16-be"), {}),
    "UTF-16 with tabs, as Excel's Unicode text": (("\ufeff" + table("image\tlabel\tgroup", "\t")).encode("utf-16-le"), {}),
    "lines of Windows": (table().replace("\n", "\r\n"), {}),
    "lines of old Macs": (table().replace("\n", "\r"), {}),
    "blank lines": (table().replace("\n", "\n\n"), {}),
    "empty rows of a spreadsheet": (table() + ",,\n,,\n", {}),
    "commas at the ends": (table().replace("\n", ",\n"), {}),
    "spaces around values": (table(rows=[[f" {value} " for value in row] for row in MEANT]), {}),
    "no new line at the end": (table().rstrip(), {}),
    "quoted values": (table(rows=[[f'"{value}"' for value in row] for row in MEANT]), {}),
    "dots in paths": (table(rows=[(f"./{image}", *rest) for image, *rest in MEANT]), {}),
    "slashes of Windows": (table(rows=[(f".\\{image}", *rest) for image, *rest in MEANT]), {}),
    "a column by name": (table("image,label,patient"), GROUP_COLUMN),
    "a column by name in another case": (table("image,label,Patient"), GROUP_COLUMN),
    "all columns by name": (
        table("file name,diagnosis,patient id"),
        {"columns": {"image": "file name", "label": "diagnosis", "group": "patient id"}},
    ),
}


@pytest.mark.parametrize(("content", "options"), RIGHT.values(), ids=RIGHT)
def test_a_labels_file_is_read_as_it_was_meant(tmp_path: Path, content: str | bytes, options: Options) -> None:
    touch(tmp_path, *IMAGES)
    (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(tmp_path, **options) == MEANT
    assert listing(tmp_path, **options).notes == []


WRONG: dict[str, tuple[str | bytes, Options, str]] = {
    "other names": (
        table("filename,diagnosis,patient_id"),
        {},
        "data.columns.image=filename data.columns.label=diagnosis data.columns.group=patient_id",
    ),
    "names with spaces": (table("image,the class,x"), {}, "data.columns.label=COLUMN"),
    "names in German": (
        table("Datei;Befund;Fall", ";"),
        {},
        "data.columns.image=Datei data.columns.label=Befund data.columns.group=Fall",
    ),
    "a name that needs quotes": (table("image,Class (final),group"), {}, "'data.columns.label=\"Class (final)\"'"),
    "no header": (table("a.png,no,p1"), {}, "first line must name the columns: image,label,group"),
    "a column twice": (table("image,label,label"), {}, "several columns 'label'"),
    "a column in two cases": (table("image,Label,LABEL"), {}, "several columns 'label'"),
    "a group column that is not there": (table(), GROUP_COLUMN, "has no column 'patient'"),
    "an unknown role": (table(), {"columns": {"patient": "group"}}, "allowed: image, label, group"),
    "a spreadsheet": (b"PK\x03\x04" + b"x" * 40, {}, "save it as CSV (UTF-8)"),
    "UTF-16 without its mark": (table().encode("utf-16-le"), {}, "save it as CSV (UTF-8)"),
    "an open quote": (table(rows=[('"a.png', "no", "p1")]), {}, "line 2 is not CSV"),
    "an empty label": (table(rows=[("a.png", "", "p1")]), {}, "line 2 has an empty label"),
    "other separators below the header": (table("image;label;group"), {}, "line 2 has an empty label"),
    "a header alone": (table(rows=[]), {}, "names no images"),
    "nothing": ("", {}, "no column 'image'; its columns: none"),
    "classes in two cases": (table(rows=[*MEANT[:3], ("d.png", "Yes", "p2")]), {}, "'Yes', 'yes'. Write each in one way"),
    "classes with spaces inside": (table(rows=[*MEANT[:3], ("d.png", "y es", "p2")]), {}, "'y es', 'yes'"),
    "a space of no width": (table(rows=[*MEANT[:3], ("d.png", "yes\u200b", "p2")]), {}, "Write each in one way"),
    "groups in two cases": (table(rows=[*MEANT[:3], ("d.png", "yes", "P2")]), {}, "groups that differ only in case"),
    "parts of a split as classes": (
        table(rows=[(i, p, "g") for i, p in zip(IMAGES, ["train", "test"] * 2, strict=True)]),
        {},
        "parts of a split",
    ),
    "patients as classes": (
        table(rows=[(image, f"Patient {n}", "g") for n, image in enumerate(IMAGES)]),
        {},
        "look like patients. Name the column",
    ),
    "an escape in a label": (table(rows=[("a.png", "\x1b[31mno", "p1")]), {}, "control characters in its label"),
    "a file without suffix": (table(rows=[("a", "no", "p1")]), {}, "have their suffix"),
    "a path of another machine": (table(rows=[("C:\\data\\a.png", "no", "p1")]), {}, "Paths are relative to data.root="),
    "two sources of groups": (table(), {"group_from": "(.)"}, "data.columns.group=null"),
    "classes from paths too": (table(), {"label_from": "(.)"}, "data.labels=null"),
    "a pattern without brackets": (UNGROUPED, {"group_from": "."}, "put one around"),
    "a pattern that is none": (UNGROUPED, {"group_from": "(["}, "is not a regular expression"),
    "a pattern that is not there": (UNGROUPED, {"group_from": "([ab])"}, "finds nothing in 2 of 4 paths: c.png, d.png"),
}


@pytest.mark.parametrize(("content", "options", "message"), WRONG.values(), ids=WRONG)
def test_a_labels_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, content: str | bytes, options: Options, message: str
) -> None:
    touch(tmp_path, *IMAGES)
    (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in error_of(tmp_path, **options)


@pytest.mark.parametrize("suffix", ["dm3", "DM4", "mrc"])
def test_a_format_of_microscopes_is_told_with_the_way_out(tmp_path: Path, suffix: str) -> None:
    names = [image.replace("png", suffix) for image in IMAGES]
    touch(tmp_path, *names)
    (tmp_path / "labels.csv").write_text(table(rows=list(zip(names, LABELS, PATIENTS, strict=True))))
    text = error_of(tmp_path)
    assert f"4 .{suffix.lower()}" in text
    assert f"{suffix.upper()} is not read; convert to 16-bit TIFF, for instance with Fiji" in text


def notes_of(root: Path, header: str, rows: Sequence[Sequence[str]], **options: object) -> list[str]:
    touch(root, *(row[0] for row in rows))
    (root / "labels.csv").write_text(table(header, rows=rows))
    return listing(root, **options).notes


@pytest.mark.parametrize("column", ["patient", "Patient_ID", "case", "subject", "biopsy no", "slide", "animal"])
def test_a_column_that_may_be_the_group_is_named(tmp_path: Path, column: str) -> None:
    (note,) = notes_of(tmp_path, f"image,label,{column}", MEANT)
    assert re.search(rf"not used: {column}\. .*data\.columns\.group=\"?{column}\"?'?; if not, data\.columns\.group=null", note)
    assert notes_of(tmp_path, f"image,label,{column}", MEANT, columns={"group": None}) == []


def test_other_columns_are_no_news(tmp_path: Path) -> None:
    assert notes_of(tmp_path, "image,label,stain", MEANT) == []


def test_windows_1252_is_read_and_said(tmp_path: Path) -> None:
    touch(tmp_path, *IMAGES)
    (tmp_path / "labels.csv").write_bytes(table(rows=[(i, label, "Müller") for i, label, _ in MEANT]).encode("cp1252"))
    assert read(tmp_path)[0] == ("a.png", "no", "Müller")
    (note,) = listing(tmp_path).notes
    assert "not UTF-8 and was read as Windows-1252" in note


def test_images_that_no_line_names_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "e.png", "f.bmp", ".g.png", "notes.txt")
    (note,) = notes_of(tmp_path, "image,label,group", MEANT)
    assert note == "2 images left out, which labels.csv does not name: 1 .png, 1 .bmp."


def test_folders_of_patients_in_paths_are_named_or_used(tmp_path: Path) -> None:
    rows = [(f"images/{patient}/{image}", label) for image, label, patient in MEANT]
    (note,) = notes_of(tmp_path, "image,label", rows)
    assert "sub-folders that are not used: p1, p2. If they are the groups (patients), type" in note
    assert f"'data.group_from=\"{SECOND_FOLDER}\"'" in note
    assert [group for *_, group in read(tmp_path, group_from=SECOND_FOLDER)] == PATIENTS
    assert listing(tmp_path, group_from=SECOND_FOLDER).notes == []


def test_folders_that_repeat_the_labels_are_no_news(tmp_path: Path) -> None:
    assert notes_of(tmp_path, "image,label", [(f"{label}/{image}", label) for image, label, _ in MEANT]) == []


def test_the_group_is_found_in_names_of_both_modes(tmp_path: Path) -> None:
    rows = [(f"{label}/{patient}_{image}", label) for image, label, patient in MEANT]
    touch(tmp_path, *(row[0] for row in rows))
    from_folders = read(tmp_path, group_from=r"(p\d+)_")
    (tmp_path / "labels.csv").write_text(table("image,label", rows=rows))
    assert sorted(read(tmp_path, group_from=r"(p\d+)_")) == from_folders
    assert {group for *_, group in from_folders} == {"p1", "p2"}


def test_class_folders_read_every_format_and_count_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "no/a.BMP", "no/b.jpeg", "yes/c.tif", "yes/d.webp", "yes/e.dm3", "no/f.dm3", "no/notes.txt", "stray.png")
    assert [image for image, *_ in read(tmp_path)] == ["no/a.BMP", "no/b.jpeg", "yes/c.tif", "yes/d.webp"]
    (note,) = listing(tmp_path).notes
    assert note.startswith("4 files left out: 2 .dm3, 1 ")
    assert "DM3 is not read; convert to 16-bit TIFF" in note


def test_sub_folders_below_classes_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{patient}/{image}" for image, label, patient in MEANT))
    (note,) = listing(tmp_path).notes
    assert "sub-folders that are not used: p1, p2" in note
    assert sorted(group or "" for *_, group in read(tmp_path, group_from=SECOND_FOLDER)) == PATIENTS


PATHS = [f"patient{number}/{label}/{number}.png" for number in range(6) for label in ("absent", "present")]
DOUBTFUL: dict[str, tuple[list[str], str]] = {
    "a split": ([f"{part}/{label}/{part}.png" for part in ("train", "test") for label in ("no", "yes")], "parts of a split"),
    "a split in capitals": (["Train/a.png", "VAL/b.png"], "parts of a split"),
    "patients": (PATHS, "look like patients"),
    "numbers of patients": ([path.removeprefix("patient") for path in PATHS], "below them there are only absent, present"),
    "case": (["absent/a.png", "Absent/b.png", "present/c.png"], "'Absent', 'absent'"),
    "no images": (["no/a.dm3", "yes/b.dm3"], "2 .dm3. DM3 is not read"),
    "images without classes": (["a.png", "b.png"], "neither labels.csv nor sub-folders with images"),
}


@pytest.mark.parametrize(("paths", "message"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_class_folders_that_cannot_be_meant_are_refused(tmp_path: Path, paths: list[str], message: str) -> None:
    touch(tmp_path, *paths)
    assert message in error_of(tmp_path)


def test_the_way_out_of_patients_above_classes_leads_out(tmp_path: Path) -> None:
    touch(tmp_path, *PATHS)
    text = error_of(tmp_path)
    assert f"'data.label_from=\"{SECOND_FOLDER}\"'" in text
    rows = read(tmp_path, label_from=SECOND_FOLDER, group_from=FIRST_FOLDER)
    assert rows[:2] == [("patient0/absent/0.png", "absent", "patient0"), ("patient0/present/0.png", "present", "patient0")]
    assert {label for _, label, _ in read(tmp_path, label_from=FIRST_FOLDER)} == {f"patient{number}" for number in range(6)}


def test_many_small_classes_are_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, *(f"kind-{number}/{image}" for number in range(11) for image in IMAGES))
    assert "11 classes with 4 images each on average: are they meant as classes?" in listing(tmp_path).notes


def pipe(root: Path) -> None:
    os.mkfifo(root / "no" / "x.png")


def link(to: str) -> Callable[[Path], None]:
    return lambda root: (root / "no" / "x.png").symlink_to(to)


def class_link(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / "maybe").symlink_to(root.parent / "elsewhere")


def bytes_of_no_text(root: Path) -> None:
    (Path(os.fsdecode(os.fsencode(root / "no") + b"/\xe9.png"))).touch()


UNSAFE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (pipe, "no regular file: no/x.png"),
    "a link to a device": (link("/dev/zero"), "paths outside data.root="),
    "a link out": (link("../../outside.png"), "paths outside data.root="),
    "a broken link": (link("nowhere.png"), "do not exist: no/x.png"),
    "a class folder elsewhere": (class_link, "maybe is a link to a folder"),
    "a name that is not UTF-8": (bytes_of_no_text, "not UTF-8"),
    "a name with an escape": (lambda root: touch(root, "no/\x1b[2J.png"), "control characters"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize(("spoil", "message"), UNSAFE.values(), ids=UNSAFE)
def test_class_folders_are_guarded_like_labels_files(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    root = tmp_path / "root"
    touch(root, "no/a.png", "yes/b.png")
    touch(tmp_path, "outside.png")
    spoil(root)
    assert message in error_of(root)


def test_a_link_inside_the_folder_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "no/a.png", "yes/b.png", "more/c.png")
    (tmp_path / "no" / "c.png").symlink_to("../more/c.png")
    assert ("no/c.png", "no", None) in read(tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "is not a folder" in error_of(tmp_path / "missing")
