"""The fine-tuning task: weighted cross-entropy, AdamW with discriminative rates, a schedule, metrics on val rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from experiment.core.class_weights import balanced_weights, check_class_weights
from experiment.core.contracts import Batch, FoldData, batch_metrics
from experiment.core.errors import UserError, not_allowed
from lightning_modules.feature_model import FeatureModel
from lightning_modules.reading import Reading
from lightning_modules.trunk import Trunk
from lightning_modules.weights import weights_digest

SCHEDULES = ("one_cycle", "cosine", "constant")


class Classifier(FeatureModel):
    """A trunk fine-tuned for classification, end to end or from some layer on.

    A subclass builds its classifier `head` and implements `logits` and `forward`.

    Args:
        classes: class names.
        trunk: arguments of `lightning_modules.trunk.Trunk`.
        freeze_until: layers up to this tap keep their pretrained weights; None trains all. Where augmentation draws nothing
            but symmetries, their outputs are computed once for all folds, epochs and trials (see `callbacks.cache_frozen`).
        pooling: how the classifier reads the last tap over space, of `taps.POOLINGS`.
        symmetries: predictions are averaged over this many symmetries of the square: 1, 4 or 8.
        lr: peak learning rate of the classifier and the last stage.
        layer_decay: ratio of each stage's learning rate to that of the next one (discriminative fine-tuning, Howard &
            Ruder 2018): early layers are general and need little change. 1 trains all alike; 0.5 suits pretrained weights.
        weight_decay: of AdamW, on weight matrices only (biases, norms, tokens and position embeddings are left alone).
        schedule: ``one_cycle`` (Smith & Topin 2018), ``cosine`` or ``constant``, stepped by batch.
        warmup: share of the steps in which one_cycle rises.
        class_weights: ``balanced`` (inverse to the frequency in the fit part) or ``none``.
        label_smoothing: of the cross-entropy, 0 to below 1.

    Raises:
        UserError: a value that is not allowed.
    """

    head: nn.Module

    def __init__(
        self,
        classes: Sequence[str],
        trunk: Mapping[str, Any] | None = None,
        freeze_until: str | None = None,
        pooling: Sequence[str] = ("mean",),
        symmetries: int = 8,
        lr: float = 5e-4,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        schedule: str = "one_cycle",
        warmup: float = 0.25,
        class_weights: str = "balanced",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # of the subclass too
        # The checkpoint holds the weights; where they came from must not be needed to load it.
        self.hparams["trunk"] = {**(trunk or {}), "weights": None}
        if schedule not in SCHEDULES:
            raise not_allowed("model.schedule", schedule, SCHEDULES)
        check_class_weights("model.class_weights", class_weights)
        for name, value in (("warmup", warmup), ("label_smoothing", label_smoothing)):
            if not 0 <= value < 1:
                raise UserError(f"model.{name}={value} is not allowed; take 0 or more, below 1.")
        if lr <= 0 or not 0 < layer_decay <= 1 or weight_decay < 0:
            raise UserError(
                f"model.lr={lr}, layer_decay={layer_decay}, weight_decay={weight_decay} is not allowed; take lr above 0, "
                "layer_decay above 0 and up to 1, weight_decay of 0 or more."
            )
        self.classes = tuple(classes)
        self.trunk = Trunk(**(trunk or {}))
        self.trunk.freeze(freeze_until)
        self.reading = Reading(self.trunk, [self.trunk.taps[-1].name], pooling, symmetries)
        self.class_weight: Tensor
        self.register_buffer("class_weight", torch.ones(len(classes)), persistent=False)
        self.val_metrics = batch_metrics(len(classes), "val/")
        self.val_loss = MeanMetric()

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the digest of the pretrained weights."""
        if config["freeze_until"] is not None and config["trunk"]["weights"] is None:
            raise UserError(
                f"model.freeze_until={config['freeze_until']} would freeze random weights, because trunk.weights=null; name "
                "pretrained weights, or take model.freeze_until=null."
            )
        return {"trunk.weights": weights_digest(**config["trunk"])}

    def setup(self, stage: str) -> None:
        """Set the class weights from the fit part of the fold.

        Raises:
            UserError: the Trainer has other data, whose classes cannot be counted.
        """
        if stage in ("fit", "validate") and self.hparams["class_weights"] == "balanced":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            if not isinstance(data, FoldData):
                raise UserError(
                    "model.class_weights=balanced counts the classes of a data module of this project; with others take none."
                )
            target = torch.tensor(data.samples.select(data.split.fit)["target"].to_numpy())
            self.class_weight.copy_(balanced_weights(target, len(self.classes)))

    def logits(self, images: Tensor) -> Tensor:
        """Return class scores of single views, (B, 3, H, H) to (B, K), float32 or better."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the weighted cross-entropy."""
        loss = self._loss(self.logits(batch["image"]), batch["target"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["target"]), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same loss, and metrics, on one view each: the average over symmetries is for predictions."""
        logits = self.logits(batch["image"])
        self.val_metrics.update(logits.softmax(dim=1), batch["target"])
        # Weighted as over all rows at once, so that the loss does not depend on how they are cut into batches.
        self.val_loss.update(self._loss(logits, batch["target"]), self.class_weight[batch["target"]].sum())
        size = len(batch["target"])
        self.log("val/loss", self.val_loss, on_epoch=True, batch_size=size)
        self.log_dict(self.val_metrics, on_epoch=True, batch_size=size)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        smoothing: float = self.hparams["label_smoothing"]
        weight = self.class_weight.to(logits.dtype)
        return nn.functional.cross_entropy(logits, target, weight, label_smoothing=smoothing)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, with a group per stage with and without weight decay, and the schedule.

        Groups have names, such as ``stage3/decay``: the first stage is 0, and the classifier belongs to the last.

        Raises:
            UserError: a schedule without a last step, or weights in float16.
        """
        if self.dtype == torch.float16:
            raise UserError(
                "trainer.precision=16-true is not allowed in training: AdamW divides by numbers that are 0 in float16; take "
                "16-mixed or bf16-true."
            )
        hp, depths, exempt = self.hparams, self.trunk.depths(), self.trunk.without_decay()
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                bare = name.removeprefix("trunk.net.")
                decays = bare not in exempt if bare != name else parameter.ndim > 1
                groups.setdefault((depths.get(bare, 0), decays), []).append(parameter)
        rates = [hp["lr"] * hp["layer_decay"] ** depth for depth, _ in groups]
        last = max(depths.values())
        optimizer = torch.optim.AdamW(
            [
                {
                    "name": f"stage{last - depth}/{'decay' if decays else 'no_decay'}",
                    "params": parameters,
                    "lr": rate,
                    "weight_decay": hp["weight_decay"] if decays else 0.0,
                }
                for ((depth, decays), parameters), rate in zip(groups.items(), rates, strict=True)
            ],
            fused=not self.trainer.gradient_clip_val,  # Lightning does not clip for a fused optimiser
        )
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if hp["schedule"] == "constant":
            return optimizer
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise UserError(
                f"model.schedule={hp['schedule']} needs a last step, but trainer.max_epochs=-1 has none; take "
                "model.schedule=constant, or a number of epochs."
            )
        steps = int(self.trainer.estimated_stepping_batches)
        if hp["schedule"] == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        else:
            # a rise of one step has no length, and torch divides by it
            rise = hp["warmup"] if hp["warmup"] * steps > 1 else 0.0
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=rise)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
