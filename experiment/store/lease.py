"""A lease says who works on a fold. It expires when its holder stops refreshing it, so that a killed job blocks nobody.

It is one small file beside the fold, on the file system that all jobs share: made with O_EXCL, which works on NFS, where locks
often do not. Its holder touches it every few seconds. Clocks of machines differ, so ages are taken against a file touched just
now, by the file system's own clock. A holder on this machine whose process is gone is expired at once.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BEAT = 10.0  # seconds between signs of life
EXPIRY = 60.0  # seconds without one, until others may take over
CLUSTER_JOBS = ("SLURM_JOB_ID", "RAY_JOB_ID")  # environment variables that name the cluster's job


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: name of its machine; empty while the lease is just being written.
        pid: of its process; 0 while the lease is just being written.
        job: the cluster's job id, if it is a cluster's job.
        since: when the lease was taken, seconds since 1970 by the holder's clock.
        age: seconds since its last sign of life, by the file system's clock.
        stale: whether the lease has expired: the process is gone, or silent for too long.
    """

    host: str
    pid: int
    job: str | None
    since: float
    age: float
    stale: bool

    def __str__(self) -> str:
        """For a person: where to look for it."""
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}" if self.host else "a job that has just begun"


def holder(path: Path) -> Holder | None:
    """Who holds the lease at `path`; None if it is free."""
    return None if (found := _read(path)) is None else _holder(path, *found)


def job_id() -> str | None:
    """The cluster's name for this job: ``17``, or ``17_3`` in an array; None outside a cluster."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return next((os.environ[name] for name in CLUSTER_JOBS if name in os.environ), None)


class Lease:
    """A lease that this process holds, refreshed by a thread until it is given back. Use it as a context manager."""

    def __init__(self, path: Path, token: str, beat: float) -> None:
        self.path, self.token = path, token
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._refresh, args=(beat,), daemon=True, name=f"lease {path.name}")
        self._beats.start()

    @classmethod
    def take(cls, path: Path, beat: float = BEAT) -> "Lease | None":
        """The lease at `path`, whose folder is made; None while another holds it. An expired one is taken over.

        Args:
            path: the lease's file.
            beat: seconds between signs of life.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        token = uuid.uuid4().hex
        if _create(path, token):
            return cls(path, token, beat)
        found = _read(path)
        if found is None:  # given back meanwhile
            return cls(path, token, beat) if _create(path, token) else None
        if _holder(path, *found).stale and _replace(path, found[0].get("token"), token):
            return cls(path, token, beat)
        return None

    def give_back(self) -> None:
        """Let others have it."""
        self._ended.set()
        self._beats.join()
        if self._is_own():
            self.path.unlink(missing_ok=True)

    def _refresh(self, beat: float) -> None:
        while not self._ended.wait(beat):
            if self._is_own():  # otherwise this process was suspended, and another has taken over
                with suppress(OSError):
                    os.utime(self.path)

    def _is_own(self) -> bool:
        found = _read(self.path)
        return found is not None and found[0].get("token") == self.token

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()


def _create(path: Path, token: str) -> bool:
    """Make the file, if there is none."""
    try:
        with path.open("x") as file:
            file.write(_self(token))
    except FileExistsError:
        return False
    return True


def _replace(path: Path, expired: str | None, token: str) -> bool:
    """Take over the lease with token `expired`. Of several that try, one wins.

    A plain rename or removal could hit the new lease of who was faster. So one process claims the expired token, by a file of
    that name, and looks again before it puts its own lease in the place of the old one: who comes later finds another token.
    """
    claim = path.with_name(f"{path.name}.{expired}.claim")
    if not _create(claim, token):
        if _age(claim, _modified(claim)) > EXPIRY:  # whoever claimed it was killed in these few lines
            claim.unlink(missing_ok=True)
        return False
    try:
        found = _read(path)
        if found is None or found[0].get("token") != expired or not _holder(path, *found).stale:
            return False
        beside = path.with_name(f"{path.name}.{token}")
        _create(beside, token)
        beside.replace(path)
        return True
    finally:
        claim.unlink(missing_ok=True)


def _self(token: str) -> str:
    """What a lease of this process says."""
    told = {
        "host": socket.gethostname(), "pid": os.getpid(), "job": job_id(), "since": round(time.time(), 3), "token": token,
        "machine": _machine(), "started": _started(os.getpid()),
    }  # fmt: skip
    return json.dumps(told)


def _read(path: Path) -> tuple[dict[str, Any], float] | None:
    """What a lease says, and when it was touched; None if there is none. NFS asks its server about a file that is opened."""
    try:
        with path.open() as file:
            text, touched = file.read(), os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    try:
        return dict(json.loads(text)), touched
    except ValueError:
        return {}, touched  # it is just being written, or its writer was killed there


def _holder(path: Path, told: dict[str, Any], touched: float) -> Holder:
    age = _age(path, touched)
    pid = int(told.get("pid", 0))
    here = told.get("machine") is not None and told["machine"] == _machine()
    gone = here and not _alive(pid, told.get("started"))
    return Holder(told.get("host", ""), pid, told.get("job"), told.get("since", touched), age, gone or age > EXPIRY)


def _age(path: Path, touched: float) -> float:
    """Seconds since `touched`, by the clock of the file system of `path`."""
    probe = path.with_name(f".probe.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
    except OSError:  # a folder that may only be read: its clock is not to be had
        now = time.time()
    return max(0.0, now - touched)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


@cache
def _machine() -> str | None:
    """Names the processes that see each other's ids: a boot of a machine and, in containers, their own table of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None  # not Linux: its leases expire by age alone


def _alive(pid: int, started: str | None) -> bool:
    """Whether that process still is: not gone, not dead and unburied, and not another that was given its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    found = _started(pid)
    return found is None or found == started


def _started(pid: int) -> str | None:
    """When a process was started, in ticks since the machine's start; None if that is not to be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
    except OSError:
        return None
    return "dead" if fields[0] in "ZX" else fields[19]
