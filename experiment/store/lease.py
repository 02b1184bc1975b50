"""A lease says which process works on a fold. It expires when that process stops refreshing it: a killed job blocks nobody.

A lease is one small file next to the fold, on the file system that all jobs share. It is created with O_EXCL, which works on
NFS, where locks often do not, and its holder touches it every few seconds. Clocks of machines differ, so its age is measured
against a file touched just now, by the file system's own clock. If the holder was a process of this machine and has ended,
the lease is expired at once.

filelock.SoftFileLease does not do: a contender that looks once never takes an expired lease of another machine, a lease whose
writer was killed before its first byte never expires, and a dead process that its parent has not waited for still holds one.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.store.files import replacing
from experiment.store.processes import is_running, job_id, machine, started

BEAT = 10.0  # seconds between two refreshes
EXPIRY = 60.0  # seconds without a refresh until others may take the lease


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease."""

    host: str  # name of its machine; empty while the lease is being written
    pid: int  # its process id; 0 while the lease is being written
    job: str | None  # the cluster's job id, or None outside a cluster
    since: float  # when it took the lease, seconds since 1970 by its own clock
    age: float  # seconds since the last refresh, by the file system's clock
    stale: bool  # whether the lease has expired: the process has ended, or the last refresh is too long ago
    token: str  # unique name of this hold

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}" if self.host else "a job that has just begun"


def holder(path: Path) -> Holder | None:
    """Return the holder of the lease at `path`; None if it is free."""
    if (read := _read(path)) is None:
        return None
    content, touched = read
    pid, age = int(content.get("pid", 0)), _age(path, touched)
    here = content.get("machine") is not None and content["machine"] == machine()
    ended = here and not is_running(pid, content.get("started"))
    since, token = content.get("since", touched), str(content.get("token", ""))
    return Holder(content.get("host", ""), pid, content.get("job"), since, age, ended or age > EXPIRY, token)


class Lease:
    """A lease of this process, refreshed by a thread until it is given back. Use it as a context manager."""

    def __init__(self, path: Path, token: str, beat: float) -> None:
        self.path, self.token = path, token
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._refresh, args=(beat,), daemon=True, name=f"lease {path.name}")
        self._beats.start()

    @classmethod
    def take(cls, path: Path, beat: float = BEAT) -> "Lease | None":
        """Take the lease at `path`, free or expired; None while another process holds it. Its folder is created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        token = uuid.uuid4().hex
        if _create(path, token):
            return cls(path, token, beat)
        current = holder(path)
        if current is not None and current.stale and _take_over(path, current.token, token):
            return cls(path, token, beat)
        return None

    def give_back(self) -> None:
        """Let other processes take it."""
        self._ended.set()
        self._beats.join()
        if self._is_own():
            self.path.unlink(missing_ok=True)

    def _refresh(self, beat: float) -> None:
        while not self._ended.wait(beat):
            if self._is_own():  # otherwise this process was suspended for too long, and another has taken the lease
                with suppress(OSError):
                    os.utime(self.path)

    def _is_own(self) -> bool:
        read = _read(self.path)
        return read is not None and read[0].get("token") == self.token

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()


def _create(path: Path, token: str) -> bool:
    """Create a lease's file; False if it exists."""
    try:
        with path.open("x") as file:
            file.write(_content(token))
    except FileExistsError:
        return False
    return True


def _take_over(path: Path, expired: str, token: str) -> bool:
    """Replace the lease with the token `expired`. Of several processes that try, one succeeds.

    Without care a slow process could replace the new lease of a faster one. So a process first creates a claim, a file named
    after the expired token, and then looks again: a process that comes too late sees another token.
    """
    claim = path.with_name(f"{path.name}.{expired}.claim")
    if not _create(claim, token):
        with suppress(OSError):
            if _age(claim, claim.stat().st_mtime) > EXPIRY:  # its process was killed in the few lines below
                claim.unlink()
        return False
    try:
        current = holder(path)
        if current is None or current.token != expired or not current.stale:
            return False
        with replacing(path) as temporary:
            temporary.write_text(_content(token))
        return True
    finally:
        claim.unlink(missing_ok=True)


def _content(token: str) -> str:
    """Content of a lease of this process."""
    return json.dumps(
        {
            "host": socket.gethostname(), "pid": os.getpid(), "job": job_id(), "since": round(time.time(), 3), "token": token,
            "machine": machine(), "started": started(os.getpid()),
        }
    )  # fmt: skip


def _read(path: Path) -> tuple[dict[str, Any], float] | None:
    """Return the content of a lease and when it was touched; None if it is free."""
    try:
        with path.open() as file:  # NFS asks its server about a file that is opened
            text, touched = file.read(), os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    try:
        return dict(json.loads(text)), touched
    except ValueError:  # it is being written, or its writer was killed there
        return {}, touched


def _age(path: Path, touched: float) -> float:
    """Return the seconds since `touched`, by the clock of the file system of `path`."""
    probe = path.with_name(f".probe.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
    except OSError:  # a folder without write permission: only this machine's clock is left
        now = time.time()
    return max(0.0, now - touched)
