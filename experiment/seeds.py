"""Seeds from one function of (seed, repeat, fold, stage), so that a fold gives the same numbers alone or in any order."""

import zlib

import numpy as np


def seed_for(seed: int, repeat: int, fold: int, stage: str) -> int:
    """A 32-bit seed, independent between folds and stages (`numpy.random.SeedSequence` mixes the parts)."""
    entropy = [seed, repeat, fold, zlib.crc32(stage.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
