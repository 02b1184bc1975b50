"""One function of (seed, repeat, fold, stage) for all seeds, so that a fold gives the same numbers alone or in any order."""

import zlib

import numpy as np

from experiment.core.errors import UserError


def seed_for(seed: int, repeat: int, fold: int, stage: str) -> int:
    """Return a 32-bit seed from the experiment's, independent between folds and stages such as ``val`` or ``svm``.

    Raises:
        UserError: `seed` is no whole number of 0 or more.

    Example:
        >>> seed_for(0, 0, 0, "folds")
        119718763
        >>> seed_for(0, 0, 1, "folds") == seed_for(0, 0, 0, "folds")
        False
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed={seed} is not allowed; take a whole number of 0 or more.")
    entropy = [seed, repeat, fold, zlib.crc32(stage.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
