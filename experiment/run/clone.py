"""A copy of this process, made when its imports are done and before it has worked: new processes come from it at once.

A process that begins anew takes seconds to import PyTorch and Lightning, on as many cores as there are such processes. A
forked one has all imports, but PyTorch may hang in a process that was forked after threads had worked in the first. So the
first process forks a copy of itself early, which does nothing but fork others when it is told to.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from typing import Any

POSSIBLE = sys.platform == "linux"  # elsewhere system libraries do not survive a fork
DONE, GIVEN, FAILED = "done", "given", "failed"


class Clone:
    """The copy. It ends with this process, and when it is asked to."""

    def __init__(self) -> None:
        self.pipe, there = multiprocessing.Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python counts the threads of BLAS, which knows forks, as well.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process = os.fork()
        if self.process == 0:
            self.pipe.close()
            _serve(there)
        there.close()

    def run(self, work: Callable[..., Generator[Any, None, None]], *arguments: Any) -> Generator[Any, None, None]:
        """What the generator `work`, called in the copy with these plain values, gives.

        Whatever ends it here, ends it there as well, and is waited for.
        """
        try:
            self.pipe.send((work, arguments))
            while (answer := self.pipe.recv())[0] != DONE:
                if answer[0] == FAILED:
                    raise answer[1]
                yield answer[1]
        except BaseException as error:
            if not isinstance(error, Exception):
                self.end()
            raise

    def end(self) -> None:
        """Stop the work of the copy, and the copy."""
        try:
            os.kill(self.process, signal.SIGTERM)
            os.waitpid(self.process, 0)
        except (ProcessLookupError, ChildProcessError):  # it ended by itself
            pass

    @staticmethod
    def may_be_made() -> bool:
        """Whether this process has no threads of its own yet."""
        return POSSIBLE and threading.active_count() == 1


def _serve(pipe: Connection) -> None:
    """The life of the copy."""
    for name in ("SIGTERM", "SIGUSR2"):  # a cluster signals all processes of a job; who answers for the job is the first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    code = 0
    try:
        while True:
            work, arguments = pipe.recv()
            try:
                for given in work(*arguments):
                    pipe.send((GIVEN, given))
                pipe.send((DONE,))
            except Exception as error:
                error.add_note(traceback.format_exc())
                pipe.send((FAILED, error))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # the first process has ended
        code = 1
    except SystemExit:
        code = 1
    finally:
        os._exit(code)
