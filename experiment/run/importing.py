"""Imports at full speed, and an end without delay: PyTorch and Lightning make half a million objects that stay to the end."""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def without_collection() -> Iterator[None]:
    """Around heavy imports: nothing that they make is garbage, and looking through it takes a fifth of their time.

    Later collections leave out what the first such block imported.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            _leave_out_of_collections()
            gc.enable()


@cache
def _leave_out_of_collections() -> None:
    """What is there now; once a process, or the remains of one job of a sweep would never be collected after the next."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries complain of what is not collected at the end


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """A process that comes out of the block without an error ends when its exit handlers have run.

    Python would take every object apart first, which takes longer than importing them.
    """
    done = False

    def leave() -> None:
        if done:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    atexit.register(leave)  # handlers run in reverse order: this one after all that are registered inside the block
    yield
    done = True
