"""Errors at the command line: one line that says what is wrong, what is allowed and the way out; exit code 1."""

import functools
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from experiment.errors import UserError


def one_line_errors(main: Callable[[], Any]) -> Callable[[], Any]:
    """Print the user's mistakes as one line; let everything else, which is ours, show its traceback.

    With ``HYDRA_FULL_ERROR=1`` every error shows its traceback.
    """

    @functools.wraps(main)
    def wrapped() -> Any:
        if os.environ.get("HYDRA_FULL_ERROR"):
            return main()
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves exceptions to us
        try:
            return main()
        except UserError as error:
            message = str(error)
        except Exception as error:
            from hydra.errors import HydraException
            from omegaconf.errors import OmegaConfBaseException

            if not isinstance(error, HydraException | OmegaConfBaseException):
                raise
            message = explained(error)
        except KeyboardInterrupt:
            message = "stopped; finished folds are kept, and the same command goes on with the others."
        sys.exit(f"error: {message}")

    return wrapped


def explained(error: Exception) -> str:
    """What Hydra or OmegaConf found wrong, in one line, with the keys that are allowed there."""
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

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
