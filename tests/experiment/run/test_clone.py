"""Each test runs a process of its own: a copy can only be made where nothing has worked yet."""

import os
import subprocess
import sys
import time

import pytest

from experiment.run.clone import POSSIBLE

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="processes are only copied on Linux")


def script(text: str) -> subprocess.CompletedProcess[str]:
    text = f"from experiment.run.clone import Clone\n{text}"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)


def gone(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{process}/stat") as state:
            if state.read().split()[2] == "Z":
                return True
        time.sleep(0.05)
    return False


def test_it_gives_what_the_work_gives_as_often_as_it_is_asked() -> None:
    done = script("clone = Clone()\nprint(list(clone.run(range, 3)), list(clone.run(range, 5, 7)))")
    assert done.stdout.strip() == "[0, 1, 2] [5, 6]", done.stderr


def test_the_work_is_done_in_another_process_that_has_the_imports_of_this_one() -> None:
    done = script(
        "import os, fractions\nclone = Clone()\nprint(os.getpid(), *clone.run(eval, '[__import__(\"os\").getpid()]'))"
    )
    first, second = done.stdout.split()
    assert first != second


def test_an_error_comes_back_with_its_traceback_and_the_next_work_is_done() -> None:
    done = script(
        "clone = Clone()\n"
        "try:\n    list(clone.run(divmod, 1, 0))\n"
        "except ZeroDivisionError as error:\n    print('Traceback' in error.__notes__[0])\n"
        "print(list(clone.run(range, 2)))"
    )
    assert done.stdout.splitlines() == ["True", "[0, 1]"], done.stderr


@pytest.mark.parametrize("end", ["import os; os._exit(0)", "raise SystemExit", "import os; os.kill(os.getpid(), 9)"])
def test_it_ends_with_the_process_it_was_made_from(end: str) -> None:
    done = script(f"clone = Clone()\nprint(clone.process, flush=True)\n{end}")
    assert gone(int(done.stdout))


def test_who_takes_no_more_ends_the_work_and_waits_for_that() -> None:
    done = script(
        "clone = Clone()\ngiven = clone.run(range, 10**9)\nprint(next(given), clone.process, flush=True)\ngiven.close()\n"
    )
    first, process = map(int, done.stdout.split())
    assert first == 0
    assert gone(process)
