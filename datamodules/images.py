"""Reading of grey or colour images with 8 or 16 bits per channel, without loss of depth."""

import hashlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn import functional as F

from datamodules.formats import PILLOW

MAX_PIXELS = 178_956_970  # Pillow refuses more, as decompression bombs; the other decoders have no limit of their own
MAX_PAGES = 32  # a pyramid has some ten; a list of pages may lead back to its start
ONE_IMAGE = "; one image per file is needed: save the one that counts"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def read_image(path: Path) -> Pixels:
    """Read an image as stored: (H, W) grey or (H, W, 3) colour, uint8 or uint16.

    tifffile reads TIFF and imagecodecs 16-bit PNG, because Pillow and torchvision lose their depth. The content decides which
    decoder reads a file, among those of `datamodules.formats`; other decoders, such as that of PostScript, are never tried.

    Raises:
        ValueError: the file is damaged, has too many pixels, or is not one 8- or 16-bit grey or colour image; the message
            does not name the path.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        raw = _tiff(path) if start in TIFF_SIGNATURES else _pillow(path)
    except UnidentifiedImageError as error:
        raise ValueError(f"not one of {', '.join(PILLOW)}, TIFF") from error
    except Exception as error:  # decoders raise any exception on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), "the file")
        raise ValueError(reason) from error
    return _checked(raw)


def _tiff(path: Path) -> NDArray[np.generic]:
    with tifffile.TiffFile(path) as file:
        pages = []
        for count, page in enumerate(file.pages):
            if isinstance(page, tifffile.TiffPage) and not page.is_reduced:  # no previews
                pages.append(page)
            if len(pages) > 1 or count == MAX_PAGES:
                break
        if len(pages) != 1:
            raise ValueError(f"{'several' if pages else 'no'} pages{ONE_IMAGE} (Fiji: Image > Stacks > Stack to Images)")
        page = pages[0]
        _refuse_large(page.imagewidth, page.imagelength * page.imagedepth)
        raw = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            raw = np.moveaxis(raw, 0, -1)
        kind = page.photometric
        if kind == tifffile.PHOTOMETRIC.MINISWHITE:
            return np.asarray(np.iinfo(raw.dtype).max - raw)
        if kind == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            return np.asarray((page.colormap.T >> 8).astype(np.uint8)[raw])  # stored as 16 bits, of which the upper 8 count
        if kind in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR):
            return np.asarray(raw)
        raise ValueError(f"colour model {kind!r} is neither grey nor RGB")


def _pillow(path: Path) -> NDArray[np.generic]:
    with Image.open(path, formats=PILLOW) as image:
        _refuse_large(*image.size)
        # the further pictures of JPEG's MPO are previews
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
            raise ValueError(f"{frames} frames{ONE_IMAGE}")
        if image.format == "PNG":
            content = path.read_bytes()
            if content[24:25] == b"\x10":  # the header's bit depth: 16
                return np.asarray(imagecodecs.png_decode(content))
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "1":
            upright = upright.convert("L")
        elif upright.mode not in ("L", "RGB"):
            upright = upright.convert("RGB")  # palettes, CMYK, and transparency, which is ignored
        return np.asarray(upright)


def _refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels; more than {MAX_PIXELS / 1e6:.0f} million are not read: scale or cut it")


def _checked(raw: NDArray[np.generic]) -> Pixels:
    pixels = raw[..., : 3 if raw.shape[-1] == 4 else 1] if raw.ndim == 3 and raw.shape[-1] in (2, 4) else raw
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] != 3) or not pixels.size:
        raise ValueError(f"shape {raw.shape} is not one grey or colour image")
    if pixels.dtype == np.uint8:
        return pixels.view(np.uint8)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return pixels.astype(np.uint16)
    raise ValueError(
        f"pixel type {pixels.dtype} is not 8 or 16 bits, unsigned: convert it, for instance with Fiji: Image > Type > 16-bit"
    )


def pixel_digest(pixels: Pixels) -> str:
    """Return the hex digest of the decoded pixels, which does not depend on the file format."""
    described = f"{pixels.shape}{pixels.dtype.newbyteorder('=').str[1:]}".encode()
    return hashlib.blake2b(described + np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()


def to_square(pixels: Pixels, size: int) -> Pixels:
    """Resize to (1 or 3, size, size), channels first, antialiased, with the same bit depth.

    A field that is not square changes its aspect ratio instead of losing an edge, where a granule may be.
    """
    channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    if channels.shape[1:] == (size, size):
        return channels
    real = torch.from_numpy(channels.astype(np.float32))[None]
    resized = F.interpolate(real, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    rounded = resized.round_().clamp_(0, np.iinfo(channels.dtype).max).numpy()
    return rounded.astype(np.uint8) if channels.dtype == np.uint8 else rounded.astype(np.uint16)
