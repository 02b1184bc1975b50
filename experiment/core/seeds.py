"""Seeds from one function of (seed, repeat, fold, stage), so that a fold gives the same numbers alone or in any order."""

import zlib

import numpy as np

from experiment.core.errors import UserError


def seed_for(seed: int, repeat: int, fold: int, stage: str) -> int:
    """A 32-bit seed, independent between folds and stages (`numpy.random.SeedSequence` mixes the parts).

    Raises:
        UserError: `seed` is no whole number of 0 or more.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed={seed} is not allowed; take a whole number of 0 or more.")
    entropy = [seed, repeat, fold, zlib.crc32(stage.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
