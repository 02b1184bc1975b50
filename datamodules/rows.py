"""One row of a data set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One labelled image, before it is read."""

    sample_id: str  # stable text, such as the path below the root
    label: str  # class name
    group: str | None = None  # patient, animal or block; None when not given
