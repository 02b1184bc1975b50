"""A fresh process, measured: seconds, processor seconds, memory.

Linux counts the memory of the process that starts another towards the other's peak: this module and whoever uses it to
measure must stay small, without torch or numpy.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """A process that ended well.

    Attributes:
        seconds: from start to end, as a person waits.
        cpu_seconds: user and system time of the process and its children.
        peak_gb: largest resident memory of it or of one of its children, whichever was larger, in GiB.
        stdout: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    stdout: str


def measured(command: Sequence[str | Path], folder: Path) -> Finished:
    """Run `command` in `folder` to its end.

    Raises:
        RuntimeError: it ended with an error; the last line it wrote about that.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen would wait for it once more
        out.seek(0)
        err.seek(0)
        if process.returncode:
            told = err.read().strip().splitlines() or ["no reason given"]
            raise RuntimeError(f"it ended with {process.returncode}: {told[-1]}")
        unit = 2**10 if sys.platform == "linux" else 1  # macOS counts bytes
        return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**30, out.read())
