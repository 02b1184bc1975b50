"""Measurement of a new process: seconds, processor seconds, memory.

Linux counts the memory of a parent process towards the peak of its child: this module and its callers must stay small, without
torch or numpy.
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
    """Process that ended without an error.

    Attributes:
        seconds: wall time from start to end.
        cpu_seconds: user and system time of the process and its children.
        peak_gb: largest resident memory of the process or one of its children, in GiB.
        stdout: output of the process.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    stdout: str


def measured(command: Sequence[str | Path], folder: Path) -> Finished:
    """Run `command` in `folder` and measure it.

    Raises:
        RuntimeError: the process ended with an error; the message has the last line of its stderr.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # otherwise Popen waits for it again
        out.seek(0)
        err.seek(0)
        if process.returncode:
            lines = err.read().strip().splitlines() or ["no message on stderr"]
            raise RuntimeError(f"it ended with {process.returncode}: {lines[-1]}")
        unit = 2**10 if sys.platform == "linux" else 1  # macOS counts bytes
        return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**30, out.read())
