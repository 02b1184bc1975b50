"""docs/library.md runs as it is written."""

import re
import sys
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "library.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
PLAIN, CLI = (text for kind, text in BLOCKS if kind == "python")
CONFIG = next(text for kind, text in BLOCKS if kind == "yaml")
COMMANDS = [line.split()[2:] for kind, text in BLOCKS if not kind for line in text.splitlines()]


def test_the_example_in_plain_lightning_fits_and_scores_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(PLAIN, names)
    split = names["data"].split  # type: ignore[attr-defined]
    assert [sample for ids, _ in names["test"] for sample in ids] == list(split.test)  # type: ignore[attr-defined]
    torch.testing.assert_close(names["probabilities"].sum(dim=1), torch.ones(len(names["sample_ids"])))  # type: ignore[attr-defined, arg-type]
    assert set(names["scores"]) == {"test/auroc", "test/balanced_accuracy"}  # type: ignore[call-overload]


def test_lightning_cli_runs_the_commands_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jsonargparse")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lit.yaml").write_text(CONFIG)
    shown = {}
    assert [command[0] for command in COMMANDS] == ["fit", "validate", "test", "predict"]
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["lit.py", *command])
        exec(CLI, {})
        shown[command[0]] = capsys.readouterr().out
    assert (tmp_path / "last.ckpt").is_file()
    assert "val/loss" in shown["validate"]
    assert "test/balanced_accuracy" in shown["test"]
