"""Entry of the report command: from run folders to a written report."""

from collections.abc import Sequence
from pathlib import Path

from experiment.core.build import build, relocated
from experiment.core.errors import UserError
from experiment.core.identity import digest
from experiment.report.content import gather
from experiment.report.explained import Explained
from experiment.report.page import write
from experiment.report.thumbnails import Picture, all_stored
from experiment.store.runs import Run


def load_runs(run: str | Sequence[str], out: str | None) -> tuple[list[Run], Path]:
    """Load the runs of a report, and choose its folder. A single run brings the runs that it is built on.

    By default (`out` is None) that is the folder of the run, or a new one next to several runs.

    Raises:
        UserError: there is no run, a folder holds no complete run, or a run is named twice.
    """
    paths = [Path(path) for path in ([run] if isinstance(run, str) else run)]
    if not paths:
        raise UserError("run=[] names no run; give the folder that train.py printed.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"run={list(map(str, paths))} names a run twice; name each run once.")
    if len(paths) == 1:
        last = Run.load(paths[0])
        return last.with_inputs(), Path(out) if out else last.path
    runs = [Run.load(path) for path in paths]
    comparison = runs[0].path.parent / f"comparison-{digest(sorted(run.path.name for run in runs))[:12]}"
    return runs, Path(out) if out else comparison


def build_report(runs: Sequence[Run], folder: Path, heat_maps: bool = False) -> Path:
    """Write the report of these runs, of which the last is the main one, into `folder`; return the path of the page.

    Raises:
        UserError: `heat_maps` of the main run are asked for, and there are none.
    """
    place = folder.resolve()
    explained = Explained.of(runs[-1]) if heat_maps else None
    content = gather(runs, place)
    return write(content, place, None if all_stored(content, place) else _picture(runs[-1]), explained)


def _picture(run: Run) -> Picture | None:
    """Return a reader of the run's images; None if they have moved since: the numbers can be reported without them."""
    from experiment.core.contracts import FoldData  # takes Lightning, as data modules do

    try:
        data = build(relocated(run.config["data"], FoldData), FoldData)
    except UserError:
        return None
    data.samples = run.samples  # its range of grey values, without reading all images
    return data.picture
