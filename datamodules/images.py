"""Reading of grey or colour PNG, JPEG or TIFF with 8 or 16 bits per channel, without loss of depth."""

import hashlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.nn import functional as F

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
TIFF = (".tif", ".tiff")

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def read_image(path: Path) -> Pixels:
    """Read an image as stored: (H, W) grey or (H, W, 3) colour, uint8 or uint16.

    tifffile reads TIFF and imagecodecs 16-bit PNG, because Pillow and torchvision lose their depth.

    Raises:
        ValueError: the file is damaged, or not one 8- or 16-bit grey or colour image; the message does not name the path.
    """
    try:
        raw = _tiff(path) if path.suffix.lower() in TIFF else _pillow(path)
    except Exception as error:  # decoders raise any exception on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), "the file")
        raise ValueError(reason) from error
    return _checked(raw)


def _tiff(path: Path) -> NDArray[np.generic]:
    with tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced]  # no previews
        if len(pages) != 1:
            raise ValueError(f"{len(pages)} pages; one image per file is needed")
        page = pages[0]
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
    if path.suffix.lower() == ".png":
        content = path.read_bytes()
        if content[24:25] == b"\x10":  # the header's bit depth: 16
            return np.asarray(imagecodecs.png_decode(content))
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "1":
            upright = upright.convert("L")
        elif upright.mode not in ("L", "RGB"):
            upright = upright.convert("RGB")  # palettes, CMYK, and transparency, which is ignored
        return np.asarray(upright)


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
    raise ValueError(f"pixel type {pixels.dtype} is not 8 or 16 bits, unsigned")


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
