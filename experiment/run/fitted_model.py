"""Load the model of a finished fold from disk. Nothing in the files is executed."""

import torch

from experiment.core.build import class_of, relocated
from experiment.core.contracts import FoldModel, LearnsFromTables
from experiment.core.tables import FinishedFold
from experiment.store.shared import load_shared


def load_model(fold: FinishedFold) -> FoldModel:
    """Return the fitted model of a fold, in eval mode on the CPU, with all that it is built on."""
    marker = fold.marker
    saved = torch.load(fold.checkpoint, map_location="cpu", weights_only=True)
    model = class_of(relocated({"_target_": marker["target"]}, FoldModel), FoldModel)(**saved["hyper_parameters"])
    root = fold.path.parents[2]  # <root>/<run>/repeat-0/fold-0
    inputs = {name: FinishedFold(root / path) for name, path in marker["inputs"].items()}
    # Shared state and inputs come first: batch norm warns of each layer that loads before it has statistics.
    if "shared" in marker:
        model.take_shared(load_shared(root, marker["shared"]))
    if not isinstance(model, LearnsFromTables):
        model.build_on(inputs)
    model.load_state_dict(saved["state_dict"], strict=model.strict_loading)
    if isinstance(model, LearnsFromTables):
        model.attach({name: load_model(member) for name, member in inputs.items()})
    return model.eval()
