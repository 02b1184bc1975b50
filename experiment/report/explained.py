"""Page of a run's heat maps, and the same as a section of a report: pictures with captions, wrong predictions first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from experiment.core.errors import UserError
from experiment.report.findings import number
from experiment.report.thumbnails import address
from experiment.store.files import write_text
from experiment.store.runs import Run

FOLDER = "explanations"  # in the run's
TABLE = "explanations.csv"
PAGE = "explain.html"
TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 768  # pixels of a picture: image and map, each twice as large as on the page
TITLES = {
    "false negative": "Missed: {positive}, called something else",
    "false positive": "False alarms: called {positive}, and labelled something else",
    "wrong among the others": "One class taken for another, neither of them {positive}",
    "true positive": "Found: {positive}, and called so",
    "true negative": "Rightly not called {positive}",
}


@dataclass(frozen=True)
class Explained:
    """Heat maps of one run."""

    run: str  # name of the run's folder
    title: str  # name of the model
    positive: str  # class whose probability is explained
    note: str  # how often the hottest pixel is on a granule; empty if the data do not know the truth
    groups: Mapping[str, Sequence[Mapping[str, Any]]]  # rows of the table with a ``picture``, by the title of their kind

    @classmethod
    def of(cls, run: Run, folder: Path | None = None) -> "Explained":
        """Read what `experiment.explain.explanations` wrote into `folder`, by default that in the run's own.

        Raises:
            UserError: there is nothing.
        """
        place = folder or run.path / FOLDER
        if not (place / TABLE).is_file():
            raise UserError(f"{run.path} has no heat maps yet; python explain.py run={run.path} makes them.")
        rows = pd.read_csv(place / TABLE, dtype=dict.fromkeys(("sample_id", "label", "decided", "group"), str))
        records: list[dict[str, Any]] = [
            {str(name): value for name, value in row.items()} for row in rows.fillna({"group": ""}).to_dict("records")
        ]
        shown = [{**row, "picture": _address(place / row["file"])} for row in records]
        positive = run.samples.positive
        groups: dict[str, list[Any]] = {
            TITLES[kind].format(positive=positive): list(same) for kind, same in groupby(shown, key=lambda row: row["kind"])
        }
        return cls(run.name, run.title, positive, pointing(rows) or "", groups)

    def write(self, folder: Path) -> Path:
        """Write the page into `folder`; return its path."""
        environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
        environment.filters["f2"] = lambda value: number(value, "z.2f")
        style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
        write_text(folder / PAGE, environment.get_template("explain.html.j2").render(explained=self, style=style))
        return folder / PAGE


def pointing(table: pd.DataFrame) -> str | None:
    """Return the shares of hits in a table of heat maps in words; None if the data do not know the truth."""
    if "hit" not in table or table["hit"].isna().all():
        return None
    scored = table.dropna(subset="hit")
    hits = [
        f"{rows['hit'].mean():.0%} of {len(rows)} {words}"
        for kind, words in (("true positive", "found"), ("false negative", "missed"))
        if len(rows := scored[scored["kind"] == kind])
    ]
    return f"hottest pixel on a granule: {', '.join(hits)}; a random pixel: {scored['area'].mean():.1%}"


def _address(file: Path) -> str:
    with Image.open(file, formats=["PNG"]) as picture:
        return address(np.asarray(picture.convert("RGB")), WIDTH)
