"""Heavy imports without garbage collection, which goes on afterwards as it was; an end without delay."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.run import importing
from experiment.run.importing import without_collection


def test_the_collector_rests_inside_and_leaves_out_what_the_first_block_made() -> None:
    importing._leave_out_of_collections.cache_clear()
    before = gc.get_freeze_count()
    with without_collection():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    after = gc.get_freeze_count()
    assert after >= before + len(made)
    with without_collection():
        more = [[] for _ in range(1000)]
    assert gc.get_freeze_count() < after + len(more)


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


ROOT = Path(__file__).parents[3]
PROGRAM = """
import atexit, sys
from experiment.run.importing import leaving_at_once
class TakenApart:
    def __del__(self):
        print("taken apart")
kept = TakenApart()
with leaving_at_once():
    atexit.register(print, "handler")
    print("work")
    if len(sys.argv) > 1:
        sys.exit("error: no")
"""


def ended(*arguments: str) -> tuple[int, list[str], str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_process_that_did_its_work_ends_after_its_exit_handlers() -> None:
    assert ended() == (0, ["work", "handler"], "")


def test_an_error_ends_as_ever() -> None:
    assert ended("fail") == (1, ["work", "handler", "taken apart"], "error: no\n")


@pytest.mark.parametrize("command", ["train", "explain"])
def test_no_handler_is_skipped_that_stands_before_the_block(command: str) -> None:
    """Only those of logging do, and the block calls them itself."""
    program = (
        "import atexit\n"
        "register, found = atexit.register, []\n"
        "atexit.register = lambda handler, *a, **k: (found.append(handler.__module__), register(handler, *a, **k))\n"
        f"import {command}\n"
        "print(*found)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["logging"]
