"""Numbers of a report, computed once: ``evidence.json`` names the digest of what they were computed from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiment.core.environment import source
from experiment.core.identity import digest, file_digest
from experiment.core.tables import Part, probability_columns
from experiment.metrics.evidence import Cohort, evidence
from experiment.store.runs import BOOTSTRAP, Run

EVIDENCE_FILE = "evidence.json"


@dataclass(frozen=True)
class Numbers:
    """Numbers that are computed for a report."""

    evidence: Mapping[str, Any]  # result of `experiment.metrics.evidence.evidence`
    gaps: Sequence[Mapping[str, Any]]  # optimism of choices; empty without an ensemble
    made_from: str  # digest of the tables and of the code; the same digest means the same numbers

    @classmethod
    def of(cls, cohort: Cohort, runs: Mapping[str, Run], folders: Sequence[Path]) -> "Numbers":
        """Compute the numbers of these runs, or read them from a report in `folders` with the same digest."""
        last = list(runs.values())[-1]
        made_from = _digest_of(runs, last)
        for file in (folder / EVIDENCE_FILE for folder in folders):
            stored = _with_nan(json.loads(file.read_text())) if file.is_file() else {}
            if stored.get("made_from") == made_from:
                keys = ("models", "pairs", "prevalence", "method")
                return cls({key: stored[key] for key in keys}, stored["optimism"], made_from)
        return cls(evidence(cohort, {title: run.path / BOOTSTRAP for title, run in runs.items()}), optimism(last), made_from)

    def write(self, folder: Path, **texts: Any) -> None:
        """Write the numbers and the report's `texts` about them into `folder`."""
        content = {"made_from": self.made_from, **self.evidence, **texts, "optimism": self.gaps}
        with_null = json.loads(json.dumps(content), parse_constant=lambda _: None)  # JSON has no NaN
        (folder / EVIDENCE_FILE).write_text(json.dumps(with_null, indent=2, allow_nan=False), encoding="utf-8")


def optimism(run: Run) -> list[dict[str, float | str]]:
    """Return the optimism gaps of an ensemble's run: how much choosing on the reported rows would have flattered it.

    The list is empty for other models.
    """
    import torch  # takes a second: only where numbers are computed

    from experiment.metrics.optimism import Rows, gaps

    members, samples = run.inputs(), run.samples
    if len(members) < 2:
        return []
    target = pd.Series(samples.target, index=samples.sample_id)
    columns = probability_columns(samples.classes)

    def rows(fold: str, part: Part) -> Rows:
        tables = [dict(member.folds())[fold].predictions(part).set_index("sample_id") for member in members.values()]
        ids = tables[0].index
        p = torch.stack([torch.tensor(table.loc[ids, columns].to_numpy()) for table in tables])
        return Rows(p, torch.tensor(target.loc[ids].to_numpy()))

    return gaps([(rows(fold, "val"), rows(fold, "test")) for fold in run.markers], samples.positive_index)


def _digest_of(runs: Mapping[str, Run], last: Run) -> str:
    tables = {
        title: [file_digest(run.path / name) for name in ("oof.parquet", "samples.parquet")] for title, run in runs.items()
    }
    members = {
        name: [file_digest(fold.path / "predictions.parquet") for _, fold in member.folds()]
        for name, member in last.inputs().items()
    }
    return digest([source(), list(tables.items()), list(members.items())])


def _with_nan(value: Any) -> Any:
    """Replace null by NaN."""
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return math.nan if value is None else value
