"""Paths of images that are refused: out of the folder, not there, or no regular files."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from experiment.core.errors import UserError, listed
from experiment.core.text import visible


def below_root(root: Path, images: Sequence[str]) -> list[str]:
    """Return one name for ``a.png``, ``./a.png`` and ``sub/../a.png``, independent of the path of the root."""
    top = os.path.abspath(root)
    paths = [os.path.normpath(os.path.join(top, image)) for image in images]
    return [path.removeprefix(f"{top}/") if path.startswith(f"{top}/") else os.path.relpath(path, top) for path in paths]


def refuse_wrong_paths(root: Path, images: Sequence[str], source: str) -> None:
    """Refuse paths that cannot be shown, lead out of the root by themselves or by links, or are no regular files.

    Args:
        root: folder of the images.
        images: paths below it.
        source: what names them, as the beginning of the message.

    Raises:
        UserError: naming the first of them.
    """
    real_root = os.path.realpath(root)

    @cache  # a hundred thousand images are in few folders
    def inside(path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(real_root)

    def refuse(which: Sequence[str], what: str, way_out: str) -> None:
        if which:
            raise UserError(f"{source} {what}: {listed(which)}. {way_out}")

    unseen = [image for image in images if visible(image) != image]
    refuse(unseen, "names that are not UTF-8 or have control characters", "Rename them.")
    at = {image: os.path.join(root, image) for image in images}
    outside = [image for image, path in at.items() if not inside(path if os.path.islink(path) else os.path.dirname(path))]
    refuse(outside, f"paths outside data.root={root}", "Copy the images there, or give the folder that has all of them.")
    absent = [image for image, path in at.items() if not os.path.exists(path)]
    relative = f"Paths are relative to data.root={root}, and have their suffix."
    refuse(absent, f"{len(absent)} images that do not exist", relative)
    refuse([image for image, path in at.items() if not os.path.isfile(path)], "what is no regular file", "Remove them.")
