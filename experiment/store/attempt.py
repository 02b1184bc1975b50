"""One attempt of a job at a fold: it holds the lease while it works, and leaves a note if it fails."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiment.core.errors import one_line
from experiment.store.lease import Lease
from experiment.store.processes import job_id


def failure(path: Path) -> str | None:
    """Return the error in the note at `path`; None if there is none."""
    try:
        return str(json.loads(path.read_text())["error"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


@contextmanager
def attempt(lease: Path, failed: Path) -> Iterator[bool]:
    """Hold the lease inside the block and give True; give False and hold nothing while another job has it.

    An error inside is noted at `failed` until the next attempt begins. A job that is stopped has not failed.
    """
    own = Lease.take(lease)
    if own is None:
        yield False
        return
    with own:
        failed.unlink(missing_ok=True)
        try:
            yield True
        except Exception as error:
            note = {"error": one_line(error), "host": socket.gethostname(), "job": job_id(), "time": round(time.time(), 3)}
            failed.write_text(json.dumps(note))
            raise
