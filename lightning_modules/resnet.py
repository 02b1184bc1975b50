"""The fine-tuned ResNet: a pretrained trunk, a new linear classifier, cross-entropy."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from experiment.core.class_weights import balanced, check_class_weights
from experiment.core.contracts import Batch
from experiment.core.errors import UserError, not_allowed
from lightning_modules.backbone import SkipBackbone
from lightning_modules.on_features import OnFeatures
from lightning_modules.taps import STAGES, check_pooling, columns_of, pool
from lightning_modules.weights import weights_digest

SCHEDULES = ("one_cycle", "cosine", "constant")


class ResNet(OnFeatures):
    """A ResNet fine-tuned with AdamW, end to end or from some layer on. Predictions average logits over symmetries.

    Args:
        classes: class names.
        backbone: arguments of `SkipBackbone`; the classifier reads the last layer, whatever the taps.
        freeze_until: layers up to this tap keep their pretrained weights; None trains all. Where augmentation draws nothing
            but symmetries, their outputs are computed once for all folds, epochs and trials (see `callbacks.cache_frozen`).
        pooling: how the classifier reads the last layer over space, of `taps.POOLINGS`.
        lr: peak learning rate of the classifier and the last stage.
        layer_decay: each earlier stage learns at this fraction of the next one's rate (discriminative fine-tuning, Howard &
            Ruder 2018): early layers are general and need little change. 1 trains all alike.
        weight_decay: of AdamW, on weight matrices only (biases and batch norm are left alone).
        schedule: ``one_cycle`` (Smith & Topin 2018), ``cosine`` or ``constant``, stepped by batch.
        warmup: share of the steps in which one_cycle rises.
        class_weights: ``balanced`` (inverse to the frequency in the fit part) or ``none``.
        label_smoothing: of the cross-entropy, 0 to below 1.
        dropout: before the classifier, 0 to below 1.
    """

    def __init__(
        self,
        classes: Sequence[str],
        backbone: Mapping[str, Any],
        freeze_until: str | None,
        pooling: Sequence[str],
        lr: float,
        layer_decay: float,
        weight_decay: float,
        schedule: str,
        warmup: float,
        class_weights: str,
        label_smoothing: float,
        dropout: float,
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise not_allowed("model.schedule", schedule, SCHEDULES)
        check_class_weights("model.class_weights", class_weights)
        for name, value, most in (("warmup", warmup, 1), ("label_smoothing", label_smoothing, 1), ("dropout", dropout, 1)):
            if not 0 <= value < most:
                raise UserError(f"model.{name}={value} is not allowed; take 0 or more, below {most}.")
        if lr <= 0 or not 0 < layer_decay <= 1 or weight_decay < 0:
            raise UserError(
                f"model.lr={lr}, layer_decay={layer_decay}, weight_decay={weight_decay} is not allowed; take lr above 0, "
                "layer_decay above 0 and up to 1, weight_decay of 0 or more."
            )
        self.save_hyperparameters()
        # The checkpoint holds the weights; where they came from must not be needed to load it.
        self.hparams["backbone"] = {**backbone, "weights": None}
        self.classes = tuple(classes)
        self.backbone = SkipBackbone(**backbone)
        self.backbone.freeze(freeze_until)
        self.dropout = nn.Dropout(dropout)
        check_pooling("model.pooling", pooling)
        self.pooling = tuple(pooling)
        self.head = nn.Linear(self.backbone.channels * len(pooling), len(classes))
        self.class_weight: Tensor
        self.register_buffer("class_weight", torch.ones(len(classes)), persistent=False)
        k = len(classes)
        metrics = {"auroc": MulticlassAUROC(k), "balanced_accuracy": MulticlassAccuracy(k, average="macro")}
        self.val_metrics = MetricCollection(metrics, prefix="val/")  # type: ignore[arg-type]
        self.val_loss = MeanMetric()

    @classmethod
    def files(cls, config: Mapping[str, Any]) -> dict[str, str]:
        """The digest of the pretrained weights."""
        if config["freeze_until"] is not None and config["backbone"]["weights"] is None:
            raise UserError(
                f"model.freeze_until={config['freeze_until']} would keep random weights, because backbone.weights=null; name "
                "pretrained weights, or take model.freeze_until=null."
            )
        return {"backbone.weights": weights_digest(config["backbone"]["name"], config["backbone"]["weights"])}

    def setup(self, stage: str) -> None:
        """Class weights from the fit part of the fold."""
        if stage == "fit" and self.hparams["class_weights"] == "balanced":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            target = torch.tensor(data.samples.select(data.split.fit)["target"].to_numpy())
            self.class_weight.copy_(balanced(target, len(self.classes)))

    @property
    def columns(self) -> list[int]:
        """The last layer in the classifier's poolings."""
        return columns_of(self.backbone.known, STAGES[-1:], self.pooling)

    def from_features(self, features: Tensor) -> Tensor:
        """Probabilities from the pooled last layer: the classifier is linear, so this averages the logits of all views."""
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = self.head(features.float())
        return out.softmax(dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, (B, 3, H, H) to (B, K)."""
        return self.from_features(self.backbone.averaged(lambda view: self._read(self.backbone.maps(view)["layer4"]), images))

    def logits(self, batch: Batch) -> Tensor:
        """Class scores of the views in a batch, (B, K), float32."""
        out: Tensor = self.head(self.dropout(self._read(self.backbone.last_map(batch))))
        return out.float()

    def _read(self, last: Tensor) -> Tensor:
        """The last layer as the classifier reads it, (B, C, h, w) to (B, F)."""
        return torch.cat([pool(last, how) for how in self.pooling], dim=1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the weighted cross-entropy."""
        loss = self._loss(self.logits(batch), batch["target"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["target"]), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same loss, and metrics, on one view each: the average over symmetries is for predictions."""
        logits = self.logits(batch)
        self.val_metrics.update(logits.softmax(dim=1), batch["target"])
        # Weighted as over all rows at once: however they are cut into batches and shares, the loss is the same.
        self.val_loss.update(self._loss(logits, batch["target"]), self.class_weight[batch["target"]].sum())
        size = len(batch["target"])
        self.log("val/loss", self.val_loss, on_epoch=True, batch_size=size)
        self.log_dict(self.val_metrics, on_epoch=True, batch_size=size)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        smoothing: float = self.hparams["label_smoothing"]
        return nn.functional.cross_entropy(logits, target, self.class_weight, label_smoothing=smoothing)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, a group for each stage with and without decay, and the schedule."""
        hp = self.hparams
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((_stages_from_end(name), parameter.ndim > 1), []).append(parameter)
        rates = [hp["lr"] * hp["layer_decay"] ** stages for stages, _ in groups]
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": rate, "weight_decay": hp["weight_decay"] if is_matrix else 0.0}
                for ((_, is_matrix), parameters), rate in zip(groups.items(), rates, strict=True)
            ],
            fused=not self.trainer.gradient_clip_val,  # Lightning does not clip for a fused optimiser
        )
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if hp["schedule"] == "constant":
            return optimizer
        if hp["schedule"] == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        else:
            # a rise of one step has no length, and torch divides by it
            rise = hp["warmup"] if hp["warmup"] * steps > 1 else 0.0
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=rise)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _stages_from_end(parameter: str) -> int:
    """0 for the classifier and the last stage, 4 for the stem."""
    stages = [stage for stage in ("layer1", "layer2", "layer3", "layer4") if f".{stage}." in parameter]
    return 0 if parameter.startswith("head.") else 4 - int(stages[0][-1]) if stages else 4
