"""Images are read as stored: expected pixels are those that were written, by Pillow, tifffile or imagecodecs."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from datamodules.images import pixel_digest, read_image, to_square

Array = NDArray[np.generic]
Write = Callable[[Path, Array], object]

_draw = np.random.default_rng(0)
GREY8 = _draw.integers(0, 256, (7, 9), dtype=np.uint8)
GREY16 = _draw.integers(0, 65536, (7, 9), dtype=np.uint16)
COLOUR8 = _draw.integers(0, 256, (7, 9, 3), dtype=np.uint8)
COLOUR16 = _draw.integers(0, 65536, (7, 9, 3), dtype=np.uint16)
KINDS = {"8-bit grey": GREY8, "16-bit grey": GREY16, "8-bit colour": COLOUR8, "16-bit colour": COLOUR16}
every_kind = pytest.mark.parametrize("pixels", KINDS.values(), ids=KINDS)


def write_png(path: Path, pixels: Array) -> None:
    if pixels.dtype == np.uint16 and pixels.ndim == 3:  # Pillow cannot write it
        path.write_bytes(pytest.importorskip("imagecodecs").png_encode(pixels))
    else:
        Image.fromarray(pixels).save(path)


def write_tiff(path: Path, pixels: Array, **how: object) -> None:
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **how)


def stored_exactly(path: Path, pixels: Array) -> None:
    read = read_image(path)
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels)


@every_kind
def test_png_keeps_every_bit(tmp_path: Path, pixels: Array) -> None:
    write_png(tmp_path / "a.png", pixels)
    stored_exactly(tmp_path / "a.png", pixels)


@every_kind
def test_tiff_keeps_every_bit(tmp_path: Path, pixels: Array) -> None:
    write_tiff(tmp_path / "a.tif", pixels)
    stored_exactly(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd"])
@every_kind
def test_compressed_tiff_keeps_every_bit(tmp_path: Path, pixels: Array, compression: str) -> None:
    pytest.importorskip("imagecodecs")
    write_tiff(tmp_path / "a.tif", pixels, compression=compression)
    stored_exactly(tmp_path / "a.tif", pixels)


@every_kind
def test_big_endian_tiff_keeps_every_bit(tmp_path: Path, pixels: Array) -> None:
    write_tiff(tmp_path / "a.tiff", pixels, byteorder=">")
    assert (tmp_path / "a.tiff").read_bytes()[:2] == b"MM"
    stored_exactly(tmp_path / "a.tiff", pixels)


@pytest.mark.parametrize("pixels", [COLOUR8, COLOUR16], ids=["8-bit", "16-bit"])
def test_planar_tiff_gives_channels_last(tmp_path: Path, pixels: Array) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate")
    stored_exactly(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("name", ["A.PNG", "A.TIF", "A.Tiff"])
def test_upper_case_suffixes_are_read_alike(tmp_path: Path, name: str) -> None:
    (write_png if name.endswith("PNG") else write_tiff)(tmp_path / name, GREY16)
    stored_exactly(tmp_path / name, GREY16)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path, mode: str) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4
    Image.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=95)
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == ((24, 32) if mode == "L" else (24, 32, 3))
    assert read.dtype == np.uint8
    wanted = smooth if mode == "L" else np.dstack([smooth] * 3)
    assert np.abs(read.astype(int) - wanted).max() <= 6


def test_jpeg_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.uint8([[0] * 16, [255] * 16]), 8, axis=0))  # dark above bright
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise: dark right of bright
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "a.jpg")
    assert read[:, :7].min() > 200
    assert read[:, -7:].max() < 55


def test_palette_png_gives_the_colours_not_the_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.uint8([[0, 1], [2, 1]]), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png")
    one, two, three = [10, 20, 30], [40, 50, 60], [70, 80, 90]
    stored_exactly(tmp_path / "a.png", np.uint8([[one, two], [three, two]]))


def test_palette_tiff_gives_the_colours_or_is_refused(tmp_path: Path) -> None:
    palette = _draw.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY8, photometric="palette", colormap=palette * 257)
    try:
        read = read_image(tmp_path / "a.tif")
    except ValueError:
        return
    np.testing.assert_array_equal(read, palette.T[GREY8].astype(np.uint8))


def test_cmyk_tiff_is_not_taken_for_colour_with_alpha(tmp_path: Path) -> None:
    image = Image.new("CMYK", (9, 7), (0, 0, 0, 0))  # no ink: white
    image.save(tmp_path / "a.tif")
    try:
        read = read_image(tmp_path / "a.tif")
    except ValueError:
        return
    assert read.min() == 255


def test_a_tiff_whose_zero_is_white_is_not_read_as_a_negative(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", 255 - GREY8, photometric="miniswhite")
    try:
        read = read_image(tmp_path / "a.tif")
    except ValueError:
        return
    np.testing.assert_array_equal(read, GREY8)


def test_alpha_of_png_is_dropped(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([COLOUR8, GREY8])).save(tmp_path / "a.png")
    stored_exactly(tmp_path / "a.png", COLOUR8)


@pytest.mark.parametrize("pixels", [COLOUR8, COLOUR16], ids=["8-bit", "16-bit"])
def test_alpha_of_tiff_is_dropped(tmp_path: Path, pixels: Array) -> None:
    write_tiff(tmp_path / "a.tif", np.dstack([pixels, pixels[..., 0]]), extrasamples=["unassalpha"])
    stored_exactly(tmp_path / "a.tif", pixels)


def test_black_and_white_png_is_grey_from_0_to_255(tmp_path: Path) -> None:
    Image.fromarray(GREY8 > 127).save(tmp_path / "a.png")
    stored_exactly(tmp_path / "a.png", np.where(GREY8 > 127, 255, 0).astype(np.uint8))


@pytest.mark.parametrize("pages", [2, 3, 4, 5])
def test_grey_tiff_of_many_pages_is_refused(tmp_path: Path, pages: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY8] * pages), photometric="minisblack")
    with pytest.raises(ValueError, match=r"(?i)page|shape|not one"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("pages", [2, 3])
def test_tiff_of_unlike_pages_is_refused(tmp_path: Path, pages: int) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in range(pages):
            file.write(GREY8[: 7 - page], photometric="minisblack", metadata=None)
    with pytest.raises(ValueError, match=r"(?i)page|shape|not one"):
        read_image(tmp_path / "a.tif")


def test_colour_tiff_of_many_pages_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([COLOUR8, COLOUR8]), photometric="rgb")
    with pytest.raises(ValueError, match=r"(?i)page|shape|not one"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32"])
def test_other_pixel_types_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8.astype(dtype), photometric="minisblack")
    with pytest.raises(ValueError, match=rf"{dtype}.*8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@every_kind
def test_digest_is_that_of_the_pixels_not_of_the_file(tmp_path: Path, pixels: Array) -> None:
    write_png(tmp_path / "a.png", pixels)
    write_tiff(tmp_path / "a.tif", pixels)
    write_tiff(tmp_path / "b.tif", pixels, byteorder=">")
    digests = {pixel_digest(read_image(tmp_path / name)) for name in ("a.png", "a.tif", "b.tif")}
    assert len(digests) == 1


@settings(max_examples=25, deadline=None)
@given(pixels=arrays(np.uint8, (3, 4)), row=st.integers(0, 2), column=st.integers(0, 3), step=st.integers(1, 255))
def test_digest_changes_with_any_pixel(pixels: NDArray[np.uint8], row: int, column: int, step: int) -> None:
    changed = pixels.copy()
    changed[row, column] = (int(pixels[row, column]) + step) % 256
    assert pixel_digest(changed) != pixel_digest(pixels)


def test_digest_tells_shapes_and_depths_of_the_same_bytes_apart() -> None:
    flat = np.zeros((4, 6), np.uint8)
    same_bytes = [flat, flat.reshape(6, 4), np.zeros((4, 3), np.uint16), flat.reshape(2, 4, 3)]
    assert len({pixel_digest(pixels) for pixels in same_bytes}) == 4


def test_digest_does_not_depend_on_the_layout_in_memory() -> None:
    assert pixel_digest(np.asfortranarray(COLOUR8)) == pixel_digest(COLOUR8)


@every_kind
def test_a_square_of_the_right_size_is_left_as_it_is(pixels: Array) -> None:
    square = pixels[:, :7]
    channels_first = square[None] if square.ndim == 2 else square.transpose(2, 0, 1)
    np.testing.assert_array_equal(to_square(square, 7), channels_first)


@every_kind
@pytest.mark.parametrize("size", [4, 32])
def test_a_resized_image_keeps_its_depth_and_channels(pixels: Array, size: int) -> None:
    square = to_square(pixels, size)
    assert square.shape == (1 if pixels.ndim == 2 else 3, size, size)
    assert square.dtype == pixels.dtype


@settings(max_examples=25, deadline=None)
@given(
    value=st.integers(0, 65535),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    deep=st.booleans(),
)
def test_a_constant_image_stays_constant(value: int, height: int, width: int, size: int, deep: bool) -> None:
    value, dtype = (value, np.uint16) if deep else (value % 256, np.uint8)
    square = to_square(np.full((height, width), value, dtype), size)
    assert square.shape == (1, size, size)
    assert (square == value).all()


def test_resizing_keeps_the_whole_field() -> None:
    wide = np.zeros((10, 40), np.uint8)
    wide[:, :4], wide[:, -4:] = 100, 200
    square = to_square(wide, 10)[0]
    np.testing.assert_array_equal(square[:, 0] > 50, True)
    np.testing.assert_array_equal(square[:, -1] > 100, True)


def test_halving_is_antialiased() -> None:
    stripes = np.tile(np.uint8([0, 200]), (32, 16))
    inner = to_square(stripes, 16)[0][:, 2:-2].astype(int)  # mean of a stripe and its neighbours: 100
    assert np.abs(inner - 100).max() <= 26


def _png(noise: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def _jpeg(noise: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


def _tiff(noise: NDArray[np.uint8], **how: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, noise, photometric="minisblack", **how)
    return out.getvalue()


def _lzw(noise: NDArray[np.uint8]) -> bytes:
    pytest.importorskip("imagecodecs")
    return _tiff(noise, compression="lzw")


ENCODED = {"a.png": _png, "a.jpg": _jpeg, "a.tif": _tiff, "a.tiff": _lzw}


def refused(path: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what the callers look at
        read_image(path)
    return str(caught.value)


def is_a_reason(text: str, path: Path) -> None:
    assert text.strip()
    assert "\n" not in text
    assert str(path.parent) not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused_with_a_reason(tmp_path: Path, name: str, share: float) -> None:
    whole = ENCODED[name](_draw.integers(0, 256, (64, 64), dtype=np.uint8))
    path = tmp_path / name
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 64)
    path.write_bytes(whole[: int(share * len(whole))])
    is_a_reason(refused(path), path)


@pytest.mark.parametrize("content", [b"", b"label,image\n", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_what_is_no_image_is_refused_with_a_reason(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    is_a_reason(refused(path), path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_missing_file_is_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    text = refused(tmp_path / name)
    is_a_reason(text, tmp_path / name)
    assert "No such file" in text


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(written) (w) file\n"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_a_program_that_is_named_like_an_image_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    (tmp_path / name).write_bytes(POSTSCRIPT)
    assert refused(tmp_path / name) == "not one of PNG, JPEG, BMP, GIF, WEBP, TIFF"


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp"])
def test_further_formats_are_read_as_pillow_decodes_them(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY8).save(tmp_path / f"a.{suffix}", lossless=True)
    read = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., 0], GREY8)


@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["8-bit", "16-bit"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_the_content_and_not_the_name_decides_how_a_file_is_read(tmp_path: Path, pixels: Array, name: str) -> None:
    for encoded in ("b.png", "b.tif"):
        (write_png if encoded == "b.png" else write_tiff)(tmp_path / encoded, pixels)
        (tmp_path / name).write_bytes((tmp_path / encoded).read_bytes())
        stored_exactly(tmp_path / name, pixels)


@pytest.mark.parametrize("form", ["PNG", "GIF", "WEBP"])
def test_an_animation_is_refused(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), 60 * number, np.uint8)) for number in range(3)]
    frames[0].save(tmp_path / "a.png", form, save_all=True, append_images=frames[1:])
    assert refused(tmp_path / "a.png") == "3 frames; one image per file is needed: save the one that counts"


def test_a_tiff_whose_pages_lead_back_to_the_first_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, GREY8)
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[after : after + 4] = content[4:8]
    path.write_bytes(content)
    assert "pages; one image per file is needed" in refused(path)


def _huge_png() -> bytes:
    """The header of a 16-bit PNG of 20000 × 20000 pixels, and no pixels."""
    header = b"IHDR" + (20000).to_bytes(4) * 2 + b"\x10\0\0\0\0"
    chunks = (header, b"IDAT" + zlib.compress(b"\0"), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join((len(c) - 4).to_bytes(4) + c + zlib.crc32(c).to_bytes(4) for c in chunks)


def test_images_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_huge_png())
    assert "400000000 pixels" in refused(tmp_path / "a.png")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        empty = (b"" for _ in range(20))
        file.write(empty, shape=(20000, 20000), dtype="uint8", rowsperstrip=1000, compression="zlib", photometric="minisblack")
    assert "20000 × 20000 pixels; more than 179 million are not read" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_pixel_type_that_is_not_read_has_a_way_out(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8.astype(dtype), photometric="minisblack")
    assert refused(tmp_path / "a.tif").endswith("convert it, for instance with Fiji: Image > Type > 16-bit")
