"""A finished fold's model, back from disk. Nothing in the files is executed."""

from experiment.build import class_of
from experiment.contracts import FoldModel, LearnsFromTables
from experiment.tables import FinishedFold


def load_model(fold: FinishedFold) -> FoldModel:
    """The fitted model of a fold, in eval mode on the CPU; an ensemble with its members."""
    marker = fold.marker
    model = class_of({"_target_": marker["target"]}).load_from_checkpoint(
        fold.checkpoint, map_location="cpu", weights_only=True
    )
    assert isinstance(model, FoldModel)
    if isinstance(model, LearnsFromTables):
        root = fold.path.parents[2]  # <root>/<run>/repeat-0/fold-0
        model.attach({name: load_model(FinishedFold(root / path)) for name, path in marker["inputs"].items()})
    return model.eval()
