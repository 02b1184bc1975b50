"""One attempt of a job at a fold: it holds the lease while it works, and leaves a note if it fails."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from experiment.core.errors import one_line
from experiment.store.lease import Lease
from experiment.store.processes import job_id


@dataclass(frozen=True)
class Failure:
    """Why the last attempt at a fold failed."""

    error: str  # kind and text in one line
    host: str  # name of the machine
    job: str | None  # the cluster's job id, or None outside a cluster
    time: float  # seconds since 1970, by that machine's clock


def failure(path: Path) -> Failure | None:
    """Return the note at `path`; None if there is none."""
    try:
        return Failure(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
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
            failed.write_text(
                json.dumps(asdict(Failure(one_line(error), socket.gethostname(), job_id(), round(time.time(), 3))))
            )
            raise
