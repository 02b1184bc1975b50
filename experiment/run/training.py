"""Fit one model on one fold with a Lightning Trainer, and predict the rows it was not fitted on."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger

from experiment.core.build import build
from experiment.core.contracts import FoldData, FoldModel, ReadsFeatures
from experiment.core.errors import UserError, not_allowed
from experiment.core.tables import Part, predictions
from experiment.core.timing import stage
from experiment.run.features import FeatureReader
from experiment.run.hardware import best_precision
from experiment.run.resume import KeepEpochs, Unfinished
from experiment.store.disk_cache import DiskCache
from experiment.terminal.progress import Timing

DDP = "ddp_spawn"  # the strategy of trainer=ddp


def make_trainer(config: Mapping[str, Any], **further: Any) -> Trainer:
    """Return a Lightning Trainer; ``precision='auto'`` takes what the device does best.

    Raises:
        UserError: what Lightning says of a wrong option, in one line.
    """
    precision = config.get("precision")
    resolved = {**config, "precision": best_precision(config["accelerator"]) if precision == "auto" else precision}
    if os.environ.get("SLURM_NTASKS") == "1" and "plugins" not in config:
        # Lightning would take Slurm's one task for a distributed job, and requeue it.
        further["plugins"] = [*further.get("plugins", []), LightningEnvironment()]
    return build(resolved, Trainer, **further)


def is_ddp(config: Mapping[str, Any]) -> bool:
    """Return whether several processes take the gradient steps of a fold together (``trainer=ddp``)."""
    return config.get("strategy") == DDP


def on_one_device(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a trainer's settings for all work but the gradient steps of ``trainer=ddp``."""
    return {**config, "strategy": "auto", "devices": 1} if is_ddp(config) else config


def check_parallel(trainer: Mapping[str, Any], parallel: int | str) -> None:
    """Refuse ``trainer=ddp`` for several folds at a time."""
    if is_ddp(trainer) and parallel not in ("auto", 1):
        raise UserError(f"folds.parallel={parallel} does not go with trainer=ddp, which trains fold by fold; take 1.")


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Build a Trainer, and refuse several devices without ``trainer=ddp``.

    Raises:
        UserError: what Lightning or this function refuses.
    """
    if make_trainer(trainer, logger=False, enable_checkpointing=False).num_devices > 1 and not is_ddp(trainer):
        strategy = trainer.get("strategy", "auto")
        raise not_allowed(f"trainer.devices={trainer['devices']} with trainer.strategy", strategy, [DDP])


def make_callbacks(configs: Mapping[str, Mapping[str, Any]], has_val: bool) -> list[Callback]:
    """Return new callbacks for one fold. Without val rows those that monitor them are left out."""
    used = [c for c in configs.values() if has_val or not str(c.get("monitor", "")).startswith("val/")]
    return [build(config, Callback) for config in used]


def fit(
    model: FoldModel,
    data: FoldData,
    config: Mapping[str, Any],
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    folder: Path,
    unfinished: Unfinished | None = None,
) -> None:
    """Fit `model` on the data's current split and write ``model.ckpt`` (best epoch where one is kept) and ``history.csv``.

    With `unfinished`, epochs are stored there during the fit, and an interrupted fit is resumed.

    Raises:
        UserError: the processes of ``trainer=ddp`` have too few rows for a batch.
    """
    if not config.get("max_epochs"):
        config = {**config, "fast_dev_run": False}  # it would train for an epoch
    several = is_ddp(config) and bool(config.get("max_epochs"))
    if several:  # timing, the trackers' loggers and resuming need this process
        data.trainer = None  # that of the fold before
        callbacks, loggers, unfinished = [c for c in callbacks if not isinstance(c, Timing)], [], None
    else:
        config = on_one_device(config)
    with TemporaryDirectory(dir=folder) as scratch:
        checkpoint = unfinished.checkpoint() if unfinished else None
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(unfinished.folder / "best") if unfinished else scratch  # a resumed fit looks there
        history = CSVLogger(save_dir=scratch, name="", version="")
        trainer = make_trainer(
            {**config, **({} if data.split.val else {"limit_val_batches": 0})},
            callbacks=[*([KeepEpochs(unfinished, history)] if unfinished else []), *callbacks],
            logger=[history, *loggers],
            default_root_dir=folder,
            enable_checkpointing=_any_checkpoint(callbacks),
        )
        epochs = max(0, (trainer.max_epochs or 0) - (unfinished.epochs if unfinished else 0))  # -1 has no number
        with stage("train", epochs * len(data.split.fit)):
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best:
            model.load_state_dict(torch.load(best, weights_only=True)["state_dict"])
        curves = Path(scratch) / "metrics.csv"
        if several and not curves.exists():
            raise UserError(
                f"trainer=ddp: each process has a share of {len(data.split.fit)} rows, less than one batch; take a smaller "
                "data.batch_size or fewer trainer.devices."
            )
        save(model, trainer, folder / "model.ckpt")
        if curves.exists():
            by_epoch(pd.read_csv(curves)).to_csv(folder / "history.csv", index=False)


def by_epoch(logged: pd.DataFrame) -> pd.DataFrame:
    """Return one row per epoch, of each column the last value: Lightning logs fit and val in rows of their own.

    A model without epochs, such as an SVM, keeps its rows.

    >>> by_epoch(pd.DataFrame({"epoch": [None, 0, 0], "lr": [0.1, None, None], "val/loss": [None, 0.5, None]}))
       epoch   lr  val/loss
    0      0  0.1       0.5
    """
    if "epoch" not in logged:  # nothing was trained
        return logged
    epoch = logged["epoch"].bfill().ffill().astype(int)  # a row of a step within an epoch comes before those of its end
    return logged.drop(columns="epoch").groupby(epoch).last().reset_index()


def _any_checkpoint(callbacks: Sequence[Callback]) -> bool:
    """Return whether checkpoints must be on: otherwise Lightning refuses such a callback."""
    return any(isinstance(callback, ModelCheckpoint) for callback in callbacks)


def save(model: FoldModel, trainer: Trainer, path: Path) -> None:
    """Write a Lightning checkpoint without optimiser state."""
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)


def predict(
    model: FoldModel,
    data: FoldData,
    config: Mapping[str, Any],
    callbacks: Sequence[Callback],
    folder: Path,
    cache: DiskCache | None = None,
) -> pd.DataFrame:
    """Predict val rows (unless the fit included them; then the model has predictions itself) and test rows.

    A model that reads features of a trunk predicts from these, and `cache` stores them for other models on the same trunk.

    Returns:
        Columns ``part``, ``sample_id``, ``p/<class>``.
    """
    parts: list[Part] = ["val", "test"] if model.held_out is None and data.split.val else ["test"]
    data.predict_parts = parts
    trainer = make_trainer(
        # A smoke run shortens fitting; predictions stay complete.
        {**on_one_device(config), "fast_dev_run": False, "limit_predict_batches": None},
        callbacks=list(callbacks), logger=False, default_root_dir=folder, enable_checkpointing=_any_checkpoint(callbacks),
    )  # fmt: skip
    rows = {part: list(getattr(data.split, part)) for part in parts}
    with stage("predict", sum(map(len, rows.values()))):
        if isinstance(model, ReadsFeatures):
            reader = FeatureReader(trainer, model.eval(), data, cache or DiskCache(folder, 0, "paths.cache_gb"))
            p = {part: model.predict_features(reader.read(ids)) for part, ids in rows.items()}
        else:
            batches = trainer.predict(model, datamodule=data) or []
            by_part = batches if len(parts) > 1 else [batches]
            p = {part: _in_order(predicted, rows[part]) for part, predicted in zip(parts, by_part, strict=True)}
    tables = [predictions(ids, p[part], model.classes).assign(part=part) for part, ids in rows.items()]
    if model.held_out is not None:
        tables.append(model.held_out.assign(part="val"))
    return pd.concat(tables, ignore_index=True)


def _in_order(batches: Sequence[tuple[list[str], torch.Tensor]], sample_ids: Sequence[str]) -> NDArray[Any]:
    """Return the probabilities of these rows from batches in any order: (N, K)."""
    rows: dict[str, NDArray[Any]] = {}
    for ids, probabilities in batches:
        rows.update(zip(ids, probabilities.cpu().numpy(), strict=True))
    return np.stack([rows[sample] for sample in sample_ids])
