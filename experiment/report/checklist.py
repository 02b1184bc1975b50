"""Two reporting checklists, answered as far as a run can; the other items are listed as to-dos for the authors."""

from dataclasses import dataclass

from experiment.report.checklist_items import CLAIM, TRIPOD
from experiment.report.content import Content
from experiment.report.result_facts import facts

LISTS = {"CLAIM 2024": CLAIM, "TRIPOD+AI": TRIPOD}


@dataclass(frozen=True)
class Item:
    """Item of a checklist.

    Attributes:
        list: name of the checklist.
        number: number in the checklist.
        topic: topic of the item, in our own words.
        answer: answer from the run; None is a to-do for the authors.
    """

    list: str
    number: str
    topic: str
    answer: str | None


def checklist(content: Content) -> list[Item]:
    """Return the items of both checklists in their order."""
    answers = facts(content)
    return [
        Item(name, number, topic, _answer(keys.split(), answers))
        for name, rows in LISTS.items()
        for number, topic, keys in rows
    ]


def _answer(keys: list[str], answers: dict[str, str]) -> str | None:
    """Join the facts; without the first one the others would not answer the item."""
    return "; ".join(answers[key] for key in keys if key in answers) if keys and keys[0] in answers else None
