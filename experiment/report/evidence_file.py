"""The numbers of a report, computed once: ``evidence.json`` says what they were made from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.core.environment import source
from experiment.core.identity import digest, file_digest
from experiment.metrics.evidence import Cohort, evidence
from experiment.store.runs import BOOTSTRAP, Run

FILE = "evidence.json"


@dataclass(frozen=True)
class Numbers:
    """What is computed for a report.

    Attributes:
        evidence: as `experiment.metrics.evidence.evidence` gives it.
        gaps: optimism of choices, where there is an ensemble.
        made_from: digest of the tables and of the code; the same gives the same numbers.
    """

    evidence: Mapping[str, Any]
    gaps: Sequence[Mapping[str, Any]]
    made_from: str

    @classmethod
    def of(cls, cohort: Cohort, runs: Mapping[str, Run], places: Sequence[Path]) -> "Numbers":
        """Those of these runs, from an earlier report in one of `places` if it was made from the same."""
        last = list(runs.values())[-1]
        made_from = _digest_of(runs, last)
        for place in places:
            if (place / FILE).is_file() and (told := json.loads((place / FILE).read_text())).get("made_from") == made_from:
                known = _with_nan(told)
                return cls(
                    {key: known[key] for key in ("models", "pairs", "prevalence", "method")}, known["optimism"], made_from
                )
        from experiment.report.members import optimism  # takes torch, and with it a second

        return cls(evidence(cohort, {title: run.path / BOOTSTRAP for title, run in runs.items()}), optimism(last), made_from)

    def write(self, folder: Path, **said: Any) -> None:
        """Store them in `folder`, with what is said of them."""
        told = {"made_from": self.made_from, **self.evidence, **said, "optimism": self.gaps}
        (folder / FILE).write_text(json.dumps(_with_null(told), indent=2, allow_nan=False), encoding="utf-8")


def _digest_of(runs: Mapping[str, Run], last: Run) -> str:
    tables = {
        title: [file_digest(run.path / name) for name in ("oof.parquet", "samples.parquet")] for title, run in runs.items()
    }
    members = {
        name: [file_digest(fold.path / "predictions.parquet") for _, fold in member.folds()]
        for name, member in last.inputs().items()
    }
    return digest([source(), list(tables.items()), list(members.items())])


def _with_null(value: Any) -> Any:
    """The same with null for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _with_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    """The same with NaN for null."""
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return math.nan if value is None else value
