"""Thumbnails of the images that a report shows.

They are kept beside the report by the digest of the image's pixels, so that it can be written again without opening the
images, even where they are no longer there.
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
SIDE = 320  # pixels: twice what the page gives them

Picture = Callable[[str], NDArray[np.uint8]]
"""From sample id to pixels; raises what it likes if there is none."""


def all_kept(content: Content, folder: Path) -> bool:
    """Whether no image has to be opened for a report in `folder`."""
    return set(_digests(content).values()) <= _kept(content, folder).keys()


def thumbnails(content: Content, folder: Path, picture: Picture | None) -> tuple[dict[str, str], str]:
    """Data addresses by sample id, and why some are missing where they are. Those shown are kept in `folder`.

    Args:
        content: of the report.
        folder: where it is written.
        picture: reads an image; None where they cannot be opened.
    """
    kept, found, missing = _kept(content, folder), {}, ""
    for sample, digest in _digests(content).items():
        if digest not in kept:
            if picture is None:
                missing = "Pictures are left out: the images could not be opened."
                continue
            try:
                kept[digest] = _address(picture(sample))
            except (OSError, ValueError, KeyError) as error:
                missing = f"Some pictures are left out: {error}."
                break
        found[sample] = digest
    (folder / THUMBNAILS_FILE).write_text(json.dumps({digest: kept[digest] for digest in found.values()}))
    return {sample: kept[digest] for sample, digest in found.items()}, missing


def _digests(content: Content) -> dict[str, str]:
    """Of the images that are shown, by sample id."""
    shown = [image["sample_id"] for image in content.hardest]
    return dict(zip(shown, content.last.samples.select(shown)["digest"], strict=True))


def _kept(content: Content, folder: Path) -> dict[str, str]:
    """What earlier reports on these runs, or in this folder, show."""
    files = [place / THUMBNAILS_FILE for place in (*(run.path for run in content.runs.values()), folder)]
    return {digest: address for file in files if file.is_file() for digest, address in json.loads(file.read_text()).items()}


def _address(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
