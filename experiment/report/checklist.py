"""Two reporting checklists, answered as far as a run can; the other items are listed as to-dos for the authors."""

from pathlib import Path
from typing import NamedTuple

import yaml

from experiment.report.content import Content
from experiment.report.result_facts import facts

ITEMS = Path(__file__).parent / "templates" / "checklists.yaml"


class Item(NamedTuple):
    """Item of a checklist."""

    list: str  # name of the checklist
    number: str  # in the checklist
    topic: str  # in our own words
    answer: str | None  # from the run; None is a to-do for the authors


def checklist(content: Content) -> list[Item]:
    """Return the items of both checklists in their order. Without its first fact the others would not answer an item."""
    answers, items = facts(content), []
    for name, rows in yaml.safe_load(ITEMS.read_text(encoding="utf-8")).items():
        for number, topic, keys in rows:
            stated = [answers[key] for key in keys if key in answers and keys[0] in answers]
            items.append(Item(name, number, topic, "; ".join(stated) or None))
    return items
