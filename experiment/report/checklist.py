"""Two reporting checklists, filled in as far as a run knows the answer; the rest is left to the authors by name."""

from dataclasses import dataclass

from experiment.report.checklist_items import CLAIM, TRIPOD
from experiment.report.content import Content
from experiment.report.result_facts import facts

LISTS = {"CLAIM 2024": CLAIM, "TRIPOD+AI": TRIPOD}


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        list: which checklist.
        number: as the checklist counts.
        topic: what is asked for, in our own words.
        answer: what the run says; None is a to-do for the authors.
    """

    list: str
    number: str
    topic: str
    answer: str | None


def checklist(content: Content) -> list[Item]:
    """Every item of both checklists, in their order."""
    known = facts(content)
    return [
        Item(name, number, topic, _answer(keys.split(), known)) for name, rows in LISTS.items() for number, topic, keys in rows
    ]


def _answer(keys: list[str], known: dict[str, str]) -> str | None:
    """The facts put together; without the first of them the others would not answer what was asked."""
    return "; ".join(known[key] for key in keys if key in known) if keys and keys[0] in known else None
