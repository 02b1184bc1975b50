"""Seconds, memory and scores of the project's settings and of plain scripts on the same images, as a Markdown page.

    python -m benchmarks.speed --data DIR --weights FILE --out speed.md
    python -m benchmarks.speed --data DIR --weights FILE --only "plain script" default --repeats 1

Every run is a new process on the CPU. The settings take turns, so that other load on the machine affects all of them, and are
compared within a turn. A job of the project starts in an empty folder. `benchmarks.settings` lists the settings.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import measured
from benchmarks.runs import Question, job_result, script_result
from benchmarks.settings import ALL, TIMM, Job, Script, chosen
from benchmarks.tables import Measurement, report

ROOT = Path(__file__).resolve().parents[1]


def turn(question: Question, names: list[str], larger: Path) -> Iterator[tuple[str, Measurement]]:
    """Run every setting once, each job in an empty folder or in that of the job that it follows."""
    with TemporaryDirectory() as scratch:
        for name in names:
            setting = ALL[name]
            try:
                if isinstance(setting, Script):
                    yield name, script_result(measured(question.script(setting), ROOT))
                else:
                    runs = Path(scratch) / str(names.index(setting.follows or name))
                    data = question.data if setting.copies == 1 else larger
                    yield name, job_result(measured(question.job(setting, data, runs), ROOT))
            except RuntimeError as error:
                sys.exit(f"{name}: {error}")


def prepare(question: Question, names: list[str], larger: Path) -> None:
    """Check all jobs before the first hour is spent, write the images of settings with copies, and warm the file cache.

    With a cold cache the first run would be slower than the others.
    """
    jobs = {name: setting for name in names if isinstance(setting := ALL[name], Job)}
    for name, job in jobs.items():
        try:
            measured([*question.job(job, question.data, larger), "--cfg", "job"], ROOT)
        except RuntimeError as error:
            sys.exit(f"{name}: {error}")
    for copies in {job.copies for job in jobs.values()} - {1}:
        arguments = ["--data", str(question.data), "--out", str(larger), "--copies", str(copies)]
        measured([sys.executable, "-m", "benchmarks.more_images", *arguments], ROOT)
    measured([sys.executable, "-c", "import benchmarks.plain, pytorch_lightning"], ROOT)
    for path in question.data.rglob("*"):
        if path.is_file():
            path.read_bytes()


def heading(question: Question, turns: int) -> str:
    """Describe how the numbers were measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "scikit-learn"))
    return (
        f"{question.images} images at {question.image_size} px; epochs: {question.epochs}, turns: {turns}, cores: "
        f"{os.cpu_count()} ({platform.machine()}), processes that decode for the scripts: {question.workers}; {libraries}."
    )


def main() -> None:
    """Measure the settings of the command line; print the page, and rewrite its file after each turn."""
    parser = argparse.ArgumentParser(description="Compare the speed of the project's settings with that of plain scripts.")
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv (image,label,group), two classes")
    parser.add_argument("--weights", type=Path, required=True, help="ResNet-18 state dict")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that decode for the plain scripts; take the fastest number"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=ALL, help="; ".join(ALL))
    parser.add_argument("--out", type=Path, help="file for the page")
    options = parser.parse_args()

    try:
        question = Question.of(options.data, options.weights, options.image_size, options.epochs, options.workers)
    except OSError as error:
        sys.exit(f"{error.filename} does not exist.")
    names = chosen(options.only)
    if find_spec("timm") is None and not set(names).isdisjoint(TIMM):
        print("timm is not installed (extra: bench); its scripts are left out", file=sys.stderr)
        names = [name for name in names if name not in TIMM]
    measurements: dict[str, list[Measurement]] = {name: [] for name in names}
    page = ""
    with TemporaryDirectory() as folder:
        prepare(question, names, Path(folder))
        for number in range(1, options.repeats + 1):
            for name, measurement in turn(question, names, Path(folder)):
                measurements[name].append(measurement)
                print(f"turn {number}: {name} {measurement.seconds:.1f} s", file=sys.stderr, flush=True)
            page = f"{heading(question, number)}\n\n{report(measurements, question.images)}"
            if options.out:
                options.out.write_text(page, encoding="utf-8")
    print(page, end="")


if __name__ == "__main__":
    main()
