"""A finished fold's model, back from disk. Nothing in the files is executed."""

import json
from pathlib import Path

from experiment.build import class_of
from experiment.contracts import FinishedFold, FoldModel, LearnsFromTables
from experiment.store import MARKER


def load_model(fold: FinishedFold, root: Path) -> FoldModel:
    """The fitted model of a fold, in eval mode on the CPU; an ensemble with its members.

    Args:
        fold: the finished fold.
        root: where runs are stored; members are found below it.
    """
    marker = json.loads((fold.path / MARKER).read_text())
    model = class_of({"_target_": marker["target"]}).load_from_checkpoint(
        fold.checkpoint, map_location="cpu", weights_only=True
    )
    assert isinstance(model, FoldModel)
    if isinstance(model, LearnsFromTables):
        members = {name: load_model(FinishedFold(root / path), root) for name, path in marker["inputs"].items()}
        model.attach(members)
    return model.eval()
