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
from lightning_modules.feature_model import FeatureModel
from lightning_modules.reading import Reading
from lightning_modules.svm import fit_svm
from lightning_modules.svm_head import SVMHead
from lightning_modules.svm_settings import SVMSettings
from lightning_modules.trunk import Trunk
from lightning_modules.weights import weights_digest

FEATURES_FROM = ("finetuned", "pretrained")


class ResNetSVM(FeatureModel):
    """An SVM on multi-layer skip features (Zhang & Zhang 2023, doi 10.1186/s12882-023-03182-6).

    It takes no gradient step: the callback `fit_svm` extracts the features and `fit_head` fits the SVM on fit and val rows.

    Args:
        classes: class names.
        trunk: arguments of `lightning_modules.trunk.Trunk`.
        taps: layers whose pooled outputs are the skip features, joined in this order; None takes four, evenly spaced.
        pooling: of each tap over space, of `taps.POOLINGS`.
        symmetries: features are averaged over this many symmetries of the square: 1, 4 or 8.
        features_from: ``finetuned`` reads the fold's own fine-tuned network (the model's ``network``; without the engine
            `take_shared` takes its trunk), ``pretrained`` the trunk as its weights came.
        svm: arguments of `SVMSettings`.
        inputs: names of the models this one is built on, set by the engine.
    """

    built_on: ClassVar[tuple[str, ...]] = ("network",)
    strict_loading = False  # Lightning: a checkpoint need not hold the trunk

    def __init__(
        self,
        classes: Sequence[str],
        trunk: Mapping[str, Any] | None = None,
        taps: Sequence[str] | None = None,
        pooling: Sequence[str] = ("mean", "max", "std"),
        symmetries: int = 8,
        features_from: str = "finetuned",
        svm: Mapping[str, Any] | None = None,
        inputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        _check_source(features_from)
        self.save_hyperparameters()
        # The checkpoint holds the weights; where they came from must not be needed to load it.
        self.hparams["trunk"] = {**(trunk or {}), "weights": None}
        self.classes = tuple(classes)
        self.settings = SVMSettings(**(svm or {}))
        # the fold's fine-tuned network brings its own weights
        self.trunk = Trunk(**(trunk or {}) if self.same_in_all_folds else self.hparams["trunk"]).requires_grad_(False)
        self.has_trunk = self.same_in_all_folds
        self.reading = Reading(self.trunk, taps, pooling, symmetries)
        self.head = SVMHead(self.reading.features, len(self.classes))

    @classmethod
    def inputs(cls, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the network whose features are read, unless they are the pretrained ones."""
        _check_source(config["features_from"])
        network = config["network"]
        return {network["name"]: network} if config["features_from"] == "finetuned" else {}

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the digest of the pretrained weights, where they are read."""
        if config["features_from"] == "finetuned":
            return {"trunk.weights": "of the network"}
        return {"trunk.weights": weights_digest(**config["trunk"])}

    @classmethod
    def needs_val(cls, config: Mapping[str, Any]) -> str | None:
        """A fine-tuned network has memorised its fit rows: val rows are what is left to choose and calibrate on."""
        if config["features_from"] == "finetuned":
            return "features_from=finetuned chooses and calibrates its SVM on val rows; features_from=pretrained does not"
        return None

    def build_on(self, inputs: Mapping[str, FinishedFold]) -> None:
        """Load the trunk of the fine-tuned network."""
        for name, fold in inputs.items():
            # Only read, and read again for each SVM on it: mapped, not copied. A finished fold is never written again.
            saved = torch.load(fold.checkpoint, map_location="cpu", weights_only=True, mmap=True)
            state = saved["state_dict"]
            trunk = {key.removeprefix("trunk."): v for key, v in state.items() if key.startswith("trunk.")}
            try:
                self.take_shared(trunk)
            except RuntimeError as error:
                raise UserError(f"the trunk of {name} is not that of resnet_svm; give both the same trunk.") from error
            self.trunk.freeze(saved["hyper_parameters"].get("freeze_until"))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Leave the trunk out: the fine-tuned network's checkpoint holds it, or all that read the same weights share it."""
        everything = super().state_dict(*args, **kwargs)
        own = f"{kwargs.get('prefix', '')}trunk."
        return {key: value for key, value in everything.items() if not key.startswith(own)}

    def shared(self) -> Mapping[str, Tensor]:
        """Return the pretrained trunk."""
        return self.trunk.state_dict() if self.same_in_all_folds else {}

    def take_shared(self, state: Mapping[str, Tensor]) -> None:
        """Load a trunk's state: what `shared` returned, or in plain Lightning that of a fine-tuned ResNet."""
        self.trunk.load_state_dict(state, assign=True)
        self.has_trunk = True

    def setup(self, stage: str) -> None:
        """Refuse to read a network that was not fine-tuned.

        Raises:
            UserError: ``features_from=finetuned`` without a network.
        """
        if not self.has_trunk:
            raise UserError(
                "model.features_from=finetuned reads a fine-tuned network; without the engine give its trunk with "
                "take_shared(resnet.trunk.state_dict()), or take features_from=pretrained."
            )

    def on_fit_start(self) -> None:
        """End the fit before its first epoch, whatever the number of epochs."""
        if self.trainer.max_epochs:
            self.trainer.should_stop = True

    @property
    def same_in_all_folds(self) -> bool:
        """Whether the trunk is the pretrained one; a fine-tuned one is the fold's own."""
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
        """Fit the SVM on all rows; see `lightning_modules.svm.fit_svm`. Predictions of val rows come from the inner folds."""
        scored = val if self.hparams["features_from"] == "finetuned" else np.ones_like(val)
        svm = fit_svm(features, target, group, scored, len(self.classes), self.settings, seed)
        self.head.fill(svm)
        self.how_fitted = svm.solver
        ids, is_val = np.asarray(sample_ids, dtype=object)[scored], val[scored]
        self.held_out = predictions(ids[is_val].tolist(), svm.held_out[is_val], self.classes)
        return svm.chosen

    def from_features(self, features: Tensor) -> Tensor:
        """Return calibrated probabilities, (B, F) to (B, K)."""
        out: Tensor = self.head(features)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, (B, 3, H, H) to (B, K)."""
        return self.from_features(self.reading.skip_features(self.trunk, images))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: there are no gradient steps, but Lightning insists on the method."""

    def configure_optimizers(self) -> None:
        """Return None: nothing is trained by gradient."""


def _check_source(features_from: str) -> None:
    if features_from not in FEATURES_FROM:
        raise not_allowed("model.features_from", features_from, FEATURES_FROM)
