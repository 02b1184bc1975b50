import io
import json

import pytest
from finished_runs import finished_run
from rich.console import Console

from experiment.sweep.ledger import Ledger, Trial
from experiment.sweep.prune import Removal
from experiment.sweep.run_status import chosen, read_runs
from experiment.sweep.status import print_removals, print_runs, print_sweeps


def printed(show, *values, width=100):
    text = io.StringIO()
    show(*values, Console(file=text, width=width))
    return text.getvalue()


def rows(root):
    return chosen(read_runs(root), None, None, None, None)


@pytest.fixture
def samples(make_samples):
    return make_samples([(2, 1), (1, 2)] * 4)


def test_the_table_has_a_row_a_run_with_the_scores_of_its_folds(tmp_path, samples):
    run = finished_run(tmp_path / "net", samples).path
    (run / "repeat-0/fold-2/finished.json").unlink()
    (row,) = [line.split() for line in printed(print_runs, rows(tmp_path)).splitlines() if line.startswith(" net")]
    markers = [json.loads((run / f"repeat-0/fold-{fold}/finished.json").read_text()) for fold in range(2)]
    means = [sum(m["scores"][part]["balanced_accuracy"] for m in markers) / 2 for part in ("val", "test")]
    assert row[:3] == ["net", "data", "24"]
    assert row[-5:] == ["■■·", *(f"{mean:.3f}" for mean in means), "4", "s"]


def test_a_hundred_columns_are_enough_for_long_names_and_settings(tmp_path, samples):
    finished_run(tmp_path / "resnet_svm-0123456789ab", samples, k=4, repeats=3)
    lines = printed(print_runs, rows(tmp_path)).splitlines()
    assert max(map(len, lines)) <= 100
    assert any("resnet_svm-0123456789ab" in line and "12/12" in line for line in lines)


def test_damage_is_said_below_the_table_and_ends_nothing(tmp_path, samples):
    damaged, other = (finished_run(tmp_path / name, samples).path for name in ("net-1", "net-2"))
    (damaged / "splits.parquet").write_text("")
    (other / "repeat-0/fold-1/finished.json").write_text("")
    text = printed(print_runs, rows(tmp_path), width=400)
    assert "net-1: damaged, " in text
    assert "net-2 repeat-0/fold-1: damaged, " in text
    assert "■!■" in text


def test_a_damaged_sweep_leaves_the_others_readable(tmp_path):
    one, other = (Ledger.of(tmp_path, name, "q", ["val/auroc"]) for name in ("one", "other"))
    other.write(Trial("net-1", {"C": "1"}, "complete", {"repeat-0/fold-0": [0.75]}))
    (one.path / "trials" / "net-0.json").write_text("[")
    text = printed(print_sweeps, tmp_path)
    assert "sweep one: damaged, JSONDecodeError" in text
    assert "0.7500" in text


def test_removals_are_in_megabytes(tmp_path):
    (tmp_path / "file").write_bytes(b"0" * 1_500_000)
    (line,) = [
        line.split()
        for line in printed(print_removals, {"trunks": Removal([tmp_path / "file"], "2 in use")}).splitlines()
        if line.startswith(" trunks")
    ]
    assert line == ["trunks", "1.5", "1", "2", "in", "use"]
