"""One job's attempt at a fold: it holds the lease while it works, and leaves a note where it fails."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from experiment.core.errors import one_line
from experiment.store.lease import Lease, job_id


@dataclass(frozen=True)
class Failure:
    """Why the last attempt at a fold ended.

    Attributes:
        error: in one line.
        host: name of the machine.
        job: the cluster's job id, if it was a cluster's job.
        time: seconds since 1970, by that machine's clock.
    """

    error: str
    host: str
    job: str | None
    time: float


def failure(path: Path) -> Failure | None:
    """What the note at `path` says; None if there is none."""
    try:
        return Failure(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def attempt(lease: Path, failed: Path) -> Iterator[bool]:
    """Hold the lease inside the block; gives False, and holds nothing, while another job has it.

    An error inside is noted at `failed` until the next attempt begins. Who is stopped has not failed.
    """
    taken = Lease.take(lease)
    if taken is None:
        yield False
        return
    with taken:
        failed.unlink(missing_ok=True)
        try:
            yield True
        except Exception as error:
            failed.write_text(
                json.dumps(asdict(Failure(one_line(error), socket.gethostname(), job_id(), round(time.time(), 3))))
            )
            raise
