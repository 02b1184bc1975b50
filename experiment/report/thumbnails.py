"""Thumbnails of a report's images.

They are stored in the report's folder by the digest of the image's pixels, so that the report can be rewritten without the
images, which may no longer exist.
"""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiment.report.content import Content

THUMBNAILS_FILE = "thumbnails.json"
SIDE = 320  # pixels: twice the size on the page

Picture = Callable[[str], NDArray[np.uint8]]
"""Function from sample id to pixels; raises OSError, ValueError or KeyError if it cannot read the image."""


def all_stored(content: Content, folder: Path) -> bool:
    """Return whether a report in `folder` needs to open no image."""
    return set(_digests(content).values()) <= _stored(content, folder).keys()


def thumbnails(content: Content, folder: Path, picture: Picture | None) -> tuple[dict[str, str], str]:
    """Return data URLs by sample id, and the reason if some are missing; store them in the report's `folder`."""
    stored, digests, missing = _stored(content, folder), {}, ""
    for sample, digest in _digests(content).items():
        if digest not in stored:
            if picture is None:
                missing = "Pictures are left out: the images could not be opened."
                continue
            try:
                stored[digest] = address(picture(sample))
            except (OSError, ValueError, KeyError) as error:
                missing = f"Some pictures are left out: {error}."
                break
        digests[sample] = digest
    (folder / THUMBNAILS_FILE).write_text(json.dumps({digest: stored[digest] for digest in digests.values()}))
    return {sample: stored[digest] for sample, digest in digests.items()}, missing


def _digests(content: Content) -> dict[str, str]:
    """Return the digests of the report's images by sample id."""
    ids = [image["sample_id"] for image in content.hardest]
    return dict(zip(ids, content.last.samples.select(ids)["digest"], strict=True))


def _stored(content: Content, folder: Path) -> dict[str, str]:
    """Return the thumbnails of earlier reports on these runs, or in this folder, by digest."""
    files = [place / THUMBNAILS_FILE for place in (*(run.path for run in content.runs.values()), folder)]
    return {digest: address for file in files if file.is_file() for digest, address in json.loads(file.read_text()).items()}


def address(pixels: NDArray[np.uint8], side: int = SIDE) -> str:
    """Return an image as a data URL, with its longer side at most `side` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
