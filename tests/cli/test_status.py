"""`status.py` as a person types it, on a folder of small finished runs."""

from pathlib import Path

import job
import pandas as pd
from finished_runs import finished_run

from experiment.core.tables import SampleTable


def test_checkpoints_of_the_runs_named_are_removed_only_when_asked(tmp_path: Path) -> None:
    ids = [f"s{number:02d}" for number in range(24)]
    rows = pd.DataFrame({"sample_id": ids, "target": [0, 1] * 12, "group": [f"g{n // 4}" for n in range(24)], "digest": ids})
    for name in ("net-0", "svm-0"):
        run = finished_run(tmp_path / "runs" / name, SampleTable(rows, ("absent", "present"), "present", grouped=True))
        (run.path / "repeat-0/fold-0/model.ckpt").write_bytes(b"0" * 500_000)

    def prune(*arguments: str) -> list[str]:
        done = job.command("status.py", tmp_path, "prune=checkpoints", "where.model=net", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "0.5" in done.stdout
        return sorted(path.parts[-4] for path in tmp_path.rglob("model.ckpt"))

    assert prune() == ["net-0", "svm-0"]
    assert prune("yes=true") == ["svm-0"]
