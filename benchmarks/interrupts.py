"""Interrupt a small job of three models at seeded moments: `python -m benchmarks.interrupts [rounds] [FOLDER]`.

For each of SIGINT (to all processes, as a terminal sends it), SIGTERM (in turn to all and to the first one) and SIGKILL (to
the first one) it prints how many rounds ended as they should: no process is there five seconds later, the exit code is the
signal's, and the same command then gives tables that are equal to an undisturbed job's.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
JOB = [
    "data.images=48", "data.patients=12", "data.image_size=32", "data.batch_size=8", "data.difficulty=0", "folds.k=2",
    "folds.val=0.3", "folds.parallel=2", "trainer=cpu", "trainer.max_epochs=3", "keep_epoch_s=0", "logger=none",
]  # fmt: skip
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LIMIT = 5.0  # seconds after which no process may be there


@dataclass(frozen=True)
class Outcome:
    """What an interrupted job left."""

    code: int | None  # its exit code, as a shell shows it; None if it had not ended
    left: int  # processes after `LIMIT` seconds
    seconds: float  # until the last process had ended
    errors: str  # what it wrote to stderr

    def right(self, number: int) -> bool:
        """Return whether it ended as it should; 0 where the job was finished before."""
        return self.left == 0 and self.code in (128 + number, 0)


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start the job in `folder`, in a session of its own."""
    command = [sys.executable, str(ROOT / "train.py"), *JOB, *overrides]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in a script's background it is ignored, and by children
    try:
        return subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def processes(session: int) -> set[int]:
    """Return the processes of a session that have not ended."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended
            continue
        if int(its_session) == session and state not in "ZX":
            found.add(int(process.name))
    return found


def interrupt(job: subprocess.Popen[str], number: int, group: bool) -> Outcome:
    """Send a signal to the job, or to all its processes, and look at what is there until `LIMIT`."""
    began = time.monotonic()
    os.killpg(job.pid, number) if group else job.send_signal(number)
    while (left := processes(job.pid)) and time.monotonic() - began < LIMIT:
        time.sleep(0.02)
    seconds = time.monotonic() - began
    code = None if left else job.wait()
    for process in left:
        os.kill(process, signal.SIGKILL)
    _, errors = job.communicate()
    return Outcome(128 - code if code is not None and code < 0 else code, len(left), seconds, errors)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the out-of-fold table of each run, by the run's name."""
    return {file.parent.name: pd.read_parquet(file) for file in sorted(folder.glob("runs/*/oof.parquet"))}


def finished(folder: Path, *overrides: str) -> dict[str, pd.DataFrame]:
    """Run the job to its end, and return its tables."""
    job = start(folder, *overrides)
    _, errors = job.communicate()
    if job.returncode:
        raise RuntimeError(errors)
    return tables(folder)


def equal(first: dict[str, pd.DataFrame], second: dict[str, pd.DataFrame]) -> bool:
    """Return whether two jobs gave the same tables, to the bit."""
    return first.keys() == second.keys() and all(table.equals(second[name]) for name, table in first.items())


def main(rounds: int, folder: Path, signals: Sequence[signal.Signals] = SIGNALS) -> int:
    """Print one line for each round, and one for each signal; return the number of rounds that did not go as they should."""
    began = time.monotonic()
    (folder / "undisturbed").mkdir(parents=True)
    undisturbed = finished(folder / "undisturbed")
    duration = time.monotonic() - began
    print(f"undisturbed: {len(undisturbed)} models in {duration:.1f} s", flush=True)
    wrong = 0
    for number in signals:
        ends, same, slowest = 0, 0, 0.0
        for turn in range(rounds):
            moment = random.Random(1000 * number + turn).uniform(0, duration)
            place = folder / f"{number.name}-{turn}"
            place.mkdir()
            job = start(place)
            time.sleep(moment)
            group = number == signal.SIGINT or (number == signal.SIGTERM and turn % 2 == 0)
            outcome = interrupt(job, number, group)
            resumed = equal(finished(place), undisturbed)
            ends, same, slowest = ends + outcome.right(number), same + resumed, max(slowest, outcome.seconds)
            wrong += not (outcome.right(number) and resumed)
            text = f"code {outcome.code}, {outcome.left} left, {outcome.seconds:.2f} s; resumed equal: {resumed}"
            print(f"{number.name} {'to all' if group else 'to the first'} at {moment:.1f} s: {text}", flush=True)
            if not outcome.right(number):
                print(outcome.errors, flush=True)
        print(
            f"{number.name}: {ends} of {rounds} ended, slowest {slowest:.2f} s; {same} of {rounds} resumed equal", flush=True
        )
    return wrong


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    if len(sys.argv) > 2:
        main(count, Path(sys.argv[2]))
    else:
        with TemporaryDirectory() as scratch:
            main(count, Path(scratch))
