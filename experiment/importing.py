"""Imports at full speed: PyTorch and Lightning make half a million objects that live as long as the process."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Around heavy imports: nothing that they make is garbage, and looking through it takes a fifth of their time.

    Later collections leave out what was imported.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            atexit.register(gc.unfreeze)  # some libraries complain of what is not collected at the end
            gc.enable()
