"""Commands: a config from the command line, and a user's errors in one line that says what is wrong and what is allowed."""

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import hydra
from omegaconf import DictConfig

from experiment.core.build import plain
from experiment.core.errors import UserError, one_line
from experiment.core.job_context import in_sweep
from experiment.core.text import visible
from experiment.terminal.stopping import Stopped, stop_behind, stoppable

P = ParamSpec("P")
R = TypeVar("R")
CONF = Path(__file__).resolve().parents[2] / "conf"


def command(config_name: str) -> Callable[[Callable[[dict[str, Any]], R]], Callable[[], R]]:
    """Make a function of a resolved config a command, whose config ``conf/<config_name>.yaml`` is composed by Hydra."""

    def decorated(main: Callable[[dict[str, Any]], R]) -> Callable[[], R]:
        @functools.wraps(main)
        @one_line_errors  # finds mistakes in the job
        def job(config: DictConfig) -> R:
            return main(plain(config))

        composed: Callable[[], R] = hydra.main(config_path=str(CONF), config_name=config_name)(job)
        composed = one_line_errors(composed)  # finds mistakes in the command line

        @functools.wraps(main)
        def started() -> R:
            sys.argv[1:] = [_without_null_group(argument) for argument in sys.argv[1:]]
            with stoppable(), quiet_pipe():
                return composed()

        return started

    return decorated


def _without_null_group(argument: str) -> str:
    """Return ``~experiment`` for ``experiment=null``: configs say null where no option is chosen, and Hydra cannot read it."""
    group = argument.removesuffix("=null")
    return f"~{group}" if group != argument and (CONF / group).is_dir() else argument


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End without a traceback where the reader of a pipe has ended, as in ``train.py --help | head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more at its end
        sys.exit(128 + signal.SIGPIPE)


def one_line_errors(main: Callable[P, R]) -> Callable[P, R]:
    """Print the user's mistakes as one line; let all other errors, which are ours, show their traceback.

    It goes around ``hydra.main``, and inside it, where Hydra would write a line of its own. A sweep's trials raise, so that
    the sweeper sees which failed. With ``HYDRA_FULL_ERROR=1`` every error shows its traceback.
    """
    wants_tracebacks = bool(os.environ.get("HYDRA_FULL_ERROR"))

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if wants_tracebacks:
            return main(*args, **kwargs)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves exceptions to us
        try:
            return main(*args, **kwargs)
        except (Stopped, KeyboardInterrupt, Exception) as error:
            stop = Stopped(128 + signal.SIGINT) if isinstance(error, KeyboardInterrupt) else stop_behind(error)
            if stop:
                print("error: interrupted; finished folds are kept. Run the same command to continue.", file=sys.stderr)
                sys.exit(stop.code)
            message = explained(error)
            if args and in_sweep():
                # The other trials go on, and the sweeper raises only the first error, at the end or not at all.
                print(visible(f"job {_job()} failed: {message or one_line(error)}"), file=sys.stderr, flush=True)
                raise
            if message is None:
                raise
        sys.exit(visible(f"error: {message}"))

    return wrapped


def _of_launcher(error: BaseException) -> str | None:
    """Say in one line what went wrong with starting jobs; None if the error is another one."""
    text = " ".join(str(error).split())
    if "Unknown plugin class" in text or "IS THE PLUGIN INSTALLED" in text:
        return f"{text.split(' IS THE')[0]}. It is not installed; pip install -e '.[cluster]' brings the launchers."
    if type(error).__module__.startswith("submitit."):
        return f"a cluster job ended without a result: {text} Finished folds are kept. Run the same command to continue."
    return None


def _job() -> str:
    """Return number and overrides of this job of a sweep."""
    from hydra.core.hydra_config import HydraConfig

    job = HydraConfig.get()
    return f"{job.job.num} ({' '.join(job.overrides.task)})"


def explained(error: BaseException) -> str | None:
    """Say in one line what is wrong with a user's settings, with the keys that are allowed; None if they are not the cause."""
    from hydra.errors import HydraException
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    # Lightning's own words for wrong settings, and for a package that a setting needs: raised without naming a module
    if type(error).__name__ == "MisconfigurationException" or (isinstance(error, ModuleNotFoundError) and not error.name):
        return " ".join(str(error).split())
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _of_launcher(error)
    cause: Any = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} is not set; give it with {cause.full_key}=VALUE."
    parent: Any = getattr(cause, "parent_node", None)
    if getattr(cause, "key", None) is not None and hasattr(parent, "keys") and cause.key not in parent:
        allowed = sorted(str(key) for key in parent if key != "_target_")
        near = get_close_matches(str(cause.key), allowed, n=1)
        return f"there is no {cause.full_key}; allowed there: {', '.join(allowed)}." + (
            f" Did you mean {near[0]!r}?" if near else ""
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)
