"""The paper's improved model: multi-layer skip features of a ResNet, and an SVM on them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiment.core.contracts import Batch
from experiment.core.errors import UserError, not_allowed
from experiment.core.tables import FinishedFold, predictions
from lightning_modules.backbone import SkipBackbone
from lightning_modules.on_features import OnFeatures
from lightning_modules.svm import fit_svm
from lightning_modules.svm_head import SVMHead
from lightning_modules.svm_settings import SVMSettings
from lightning_modules.weights import load_weights, weights_digest

FEATURES_FROM = ("finetuned", "pretrained")


class ResNetSVM(OnFeatures):
    """An SVM on multi-layer skip features (Zhang & Zhang 2023, doi 10.1186/s12882-023-03182-6).

    It takes no gradient step: the callback `fit_svm` extracts the features and `fit_head` fits the SVM on fit and val rows.

    Args:
        classes: class names.
        backbone: arguments of `SkipBackbone`.
        features_from: ``finetuned`` reads the fold's own fine-tuned ResNet (the model's ``network``), ``pretrained`` the
            backbone as its weights came.
        svm: arguments of `SVMSettings`.
        inputs: names of the models this one is built on, told by the engine.
    """

    built_on: ClassVar[tuple[str, ...]] = ("network",)
    strict_loading = False  # Lightning: a checkpoint need not hold the trunk

    def __init__(
        self,
        classes: Sequence[str],
        backbone: Mapping[str, Any],
        features_from: str,
        svm: Mapping[str, Any],
        inputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        _check_source(features_from)
        self.save_hyperparameters()
        # The checkpoint holds the weights; where they came from must not be needed to load it.
        self.hparams["backbone"] = {**backbone, "weights": None}
        self.classes = tuple(classes)
        self.settings = SVMSettings(**svm)
        self.backbone = _trunk(backbone, from_fold=features_from == "finetuned").requires_grad_(False)
        self.head = SVMHead(self.backbone.features, len(self.classes))

    @classmethod
    def inputs(cls, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """The network whose features are read, unless they are the pretrained ones."""
        _check_source(config["features_from"])
        network = config["network"]
        return {network["name"]: network} if config["features_from"] == "finetuned" else {}

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """The digest of the pretrained weights, where they are read."""
        if config["features_from"] == "finetuned":
            return {}
        return {"backbone.weights": weights_digest(config["backbone"]["name"], config["backbone"]["weights"])}

    @classmethod
    def needs_val(cls, config: Mapping[str, Any]) -> str | None:
        """A fine-tuned network has memorised its fit rows: val rows are what is left to choose and calibrate on."""
        if config["features_from"] == "finetuned":
            return "features_from=finetuned chooses and calibrates its SVM on val rows; features_from=pretrained does not"
        return None

    def build_on(self, inputs: Mapping[str, FinishedFold]) -> None:
        """Take the trunk of the fine-tuned network."""
        for name, fold in inputs.items():
            # Only read, and read again for each SVM on it: mapped, not copied. A finished fold is never written again.
            saved = torch.load(fold.checkpoint, map_location="cpu", weights_only=True, mmap=True)
            state = saved["state_dict"]
            trunk = {key.removeprefix("backbone."): v for key, v in state.items() if key.startswith("backbone.")}
            try:
                self.backbone.load_state_dict(trunk, assign=True)
            except RuntimeError as error:
                raise UserError(f"the backbone of {name} is not that of resnet_svm; give both the same backbone.") from error
            self.backbone.freeze(saved["hyper_parameters"].get("freeze_until"))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Without the trunk, which lies in the fine-tuned network's checkpoint, or is shared by all that read its weights."""
        everything = super().state_dict(*args, **kwargs)
        own = f"{kwargs.get('prefix', '')}backbone."
        return {key: value for key, value in everything.items() if not key.startswith(own)}

    def shared(self) -> Mapping[str, Tensor]:
        """The pretrained trunk."""
        return self.backbone.state_dict() if self.same_in_all_folds else {}

    def take_shared(self, state: Mapping[str, Tensor]) -> None:
        """See `shared`."""
        self.backbone.load_state_dict(state, assign=True)

    @property
    def columns(self) -> list[int]:
        """The skip features."""
        return self.backbone.columns

    @property
    def same_in_all_folds(self) -> bool:
        """The pretrained network is; a fine-tuned one is the fold's own."""
        return bool(self.hparams["features_from"] == "pretrained")

    def fit_head(
        self,
        features: NDArray[np.float32],
        target: NDArray[np.int64],
        group: NDArray[np.object_],
        val: NDArray[np.bool_],
        sample_ids: Sequence[str],
        seed: int,
    ) -> Mapping[str, float]:
        """Fit the SVM on all rows; see `lightning_modules.svm.fit_svm`. Val rows are kept as predicted by inner folds."""
        scored = val if self.hparams["features_from"] == "finetuned" else np.ones_like(val)
        svm = fit_svm(features, target, group, scored, len(self.classes), self.settings, seed)
        self.head.fill(svm)
        self.how_fitted = svm.solver
        ids, is_val = np.asarray(sample_ids, dtype=object)[scored], val[scored]
        self.held_out = predictions(ids[is_val].tolist(), svm.held_out[is_val], self.classes)
        return svm.chosen

    def from_features(self, features: Tensor) -> Tensor:
        """Calibrated probabilities, (B, F) to (B, K)."""
        out: Tensor = self.head(features)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, (B, 3, H, H) to (B, K)."""
        return self.from_features(self.backbone.skip_features(images))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing: there are no gradient steps, but Lightning insists on the method."""

    def configure_optimizers(self) -> None:
        """Nothing is trained by gradient."""


def _trunk(backbone: Mapping[str, Any], from_fold: bool) -> SkipBackbone:
    """The network. One whose weights come from elsewhere is not given random ones first; they are shared, not copied."""
    weights = backbone["weights"]
    planning = torch.empty(0).device.type == "meta"  # only the settings are looked at
    if planning or (weights is None and not from_fold):
        return SkipBackbone(**backbone)
    with torch.device("meta"):
        trunk = SkipBackbone(**{**backbone, "weights": None})
    if not from_fold:
        trunk.net.load_state_dict(load_weights(backbone["name"], weights), assign=True)
    return trunk


def _check_source(features_from: str) -> None:
    if features_from not in FEATURES_FROM:
        raise not_allowed("model.features_from", features_from, FEATURES_FROM)
