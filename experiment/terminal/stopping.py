"""Stop a command: a first SIGINT or SIGTERM ends it in an orderly way within seconds, a second one at once."""

import atexit
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 3.0  # seconds to give back leases and to end workers; these end by themselves where the process ends before


class Stopped(SystemExit):
    """This process was stopped by a signal; the exit code is the shell's for it, 130 or 143.

    A KeyboardInterrupt does not do: Lightning would ignore further signals from then on, and exit with 1.
    """


def stop_behind(error: BaseException | None) -> Stopped | None:
    """Return the `Stopped` that an error has come of, such as that of a library whose worker the same signal has ended."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Stopped` in the block; after `GRACE` seconds, or another signal, end the process.

    The clock starts with the signal, not with its handler, which has to wait while the main thread is inside a long call of a
    library. A signal that the process ignores, such as SIGINT in the background of a script, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not stopped:
            stopped.append(number)
            raise Stopped(128 + number)

    def leave_signals() -> None:
        """Leave signals to the first process, in a forked child such as a loader's worker: its own must not end that one."""
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=leave_signals)
    threading.Thread(target=_end_after_signal, args=(reading,), daemon=True, name="stopping").start()
    atexit.register(_end_before_finalizing, stopped)
    try:
        yield
    finally:
        if not stopped:  # otherwise the clock goes on until the process has ended
            for number in SIGNALS:
                signal.signal(number, before[number])
            signal.set_wakeup_fd(wakeup)
            atexit.unregister(_end_before_finalizing)
            os.close(writing)


def _end_before_finalizing(stopped: Sequence[int]) -> None:
    """End a stopped process after the other functions of atexit: only Python would go on, taking PyTorch apart for seconds."""
    if stopped:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + stopped[0])


def _end_after_signal(pipe: int) -> None:
    """Wait for a signal, then for `GRACE` seconds or another signal, and end the process. Python writes their numbers."""
    number, patience = 0, None
    while select.select([pipe], [], [], patience)[0]:
        if not (read := os.read(pipe, 1)):  # the block has ended
            os.close(pipe)
            return
        if read[0] in SIGNALS:
            if number:
                break
            number, patience = read[0], GRACE
    os._exit(128 + number)
