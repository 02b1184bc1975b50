"""Report as HTML and Markdown."""

import re
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiment.core.cost import in_words
from experiment.metrics.evidence import TESTED
from experiment.metrics.scores import METRICS
from experiment.report import figures
from experiment.report.checklist import checklist
from experiment.report.content import Content
from experiment.report.explained import Explained
from experiment.report.findings import number
from experiment.report.thumbnails import Picture, thumbnails
from experiment.store.files import write_text

TEMPLATES = Path(__file__).parent / "templates"


def write(content: Content, folder: Path, picture: Picture | None, explained: Explained | None = None) -> Path:
    """Write ``report.html``, ``report.md``, ``evidence.json`` and the thumbnails into `folder`; return the HTML page.

    Without `picture`, which reads an image, those without a stored thumbnail are left out. The heat maps `explained` are a
    section of the HTML page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {**_values(content, *thumbnails(content, folder, picture)), "explained": explained}
    page = folder / "report.html"
    for name, escape in (("report.md", False), ("report.html", True)):
        write_text(folder / name, _environment(escape).get_template(f"{name}.j2").render(values))
    content.numbers.write(folder, headline=content.headline, doubts=content.doubts, warnings=content.warnings)
    return page


def _environment(escape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=escape, undefined=StrictUndefined, trim_blocks=not escape,
        finalize=None if escape else _in_markdown,
    )  # fmt: skip
    environment.filters |= {
        "f2": lambda value: number(value, "z.2f"),
        "f3": number,
        "signed": lambda value: number(value, "+z.3f"),
        "p": lambda value: number(value, ".2g") if not isinstance(value, float) or not value < 0.001 else "< 0.001",
        "in_words": in_words,
    }
    return environment


def _in_markdown(value: Any) -> str:
    """Escape text so that it neither ends a table cell nor is read as HTML."""
    line = " ".join(str(value).splitlines()).replace("|", r"\|")
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", re.sub(r"&(?=#?\w+;)", "&amp;", line))


def _values(content: Content, pictures: Mapping[str, str], missing: str) -> dict[str, Any]:
    """Return the variables of the templates."""
    models = content.evidence["models"]
    config = content.last.config
    unit = "patients (groups)" if content.last.samples.grouped else "images"
    checklists = {name: list(items) for name, items in groupby(checklist(content), key=lambda item: item.list)}
    svgs = _figures(content)
    return {
        "content": content, "models": models, "evidence": content.evidence, "metrics": METRICS, "config": config,
        "question": _question(content),
        "style": (TEMPLATES / "report.css").read_text(encoding="utf-8"),
        "figures": svgs,
        "named": {kind: [name for name in svgs if name.startswith(kind)] for kind in ("intervals", "folds", "learning")},
        "interval_caption": f"Dot: value over all out-of-fold images. Bar: {content.evidence['method']['interval']}.",
        "unit": unit, "unseen": "its patient" if content.last.samples.grouped else "it",
        "operating": _by_model(models, lambda m: number(next(iter(m["operating"].values())))),
        "slopes": "Slope: " + _by_model(models, lambda m: number(m["calibration"]["slope"], "z.2f")),
        "epochs": "Epochs: " + _by_model(content.curves, lambda by_fold: str(max(map(len, by_fold.values())))),
        "splits": _by_fold(content),
        "pictures": pictures, "no_pictures": missing,
        "config_text": yaml.safe_dump(config, sort_keys=False),
        "checklists": checklists,
    }  # fmt: skip


def _question(content: Content) -> str:
    samples = content.last.samples
    counts = ", ".join(f"{(samples.target == number).sum()} {name}" for number, name in enumerate(samples.classes))
    patients = f" of {len(set(samples.group))} patients (groups)" if samples.grouped else ""
    folds = content.last.config["folds"]
    by = "patient" if samples.grouped and folds["grouped"] else "image"
    repeats = f", {folds['repeats']} times" if folds["repeats"] > 1 else ""
    cohort = f"{len(samples.rows)} images{patients}: {counts}"
    return f"Which model detects {content.positive!r}? {cohort}; {folds['k']} folds by {by}{repeats}."


def _by_model(models: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    return ", ".join(f"{title} {text(model)}" for title, model in models.items()) + "."


def _figures(content: Content) -> dict[str, str]:
    models, prevalence = content.evidence["models"], content.evidence["prevalence"]
    by_fold = {metric: {title: run.scores[metric]["folds"] for title, run in content.runs.items()} for metric in TESTED}
    return {
        **{f"intervals-{metric}": figures.intervals(models, metric) for metric in TESTED},
        "roc": figures.roc(models),
        "pr": figures.precision_recall(models, prevalence),
        "reliability": figures.reliability(models),
        "decision": figures.decision(models, prevalence),
        **{f"folds-{metric}": figures.folds(by_fold[metric], metric) for metric in TESTED},
        **{f"learning-{title}": figures.learning(title, epochs) for title, epochs in content.curves.items()},
        "optimism": figures.optimism(content.gaps) if content.gaps else "",
    }


def _by_fold(content: Content) -> dict[str, dict[str, Any]]:
    several = content.splits["repeat"].nunique() > 1
    out: dict[str, dict[str, Any]] = {}
    for row in content.splits.to_dict("records"):
        name = f"{row['repeat']}.{row['fold']}" if several else str(row["fold"])
        out.setdefault(name, {})[row["part"]] = row
    return out
