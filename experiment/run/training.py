"""Fit one model on one fold with a Lightning Trainer, and predict the rows it was not fitted on."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain
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

from experiment.core import ranks
from experiment.core.build import build
from experiment.core.contracts import FoldData, FoldModel, ReadsFeatures
from experiment.core.tables import Part, predictions
from experiment.core.timing import stage
from experiment.run.data_parallel import apart, together
from experiment.run.features import FeatureReader
from experiment.run.hardware import best_precision
from experiment.run.resume import KeepEpochs, Unfinished
from experiment.store.disk_cache import DiskCache


def make_trainer(config: Mapping[str, Any], **further: Any) -> Trainer:
    """A Lightning Trainer; ``precision='auto'`` takes what the device does best.

    Args:
        config: its ``_target_`` and arguments.
        further: arguments that are no plain values.

    Raises:
        UserError: what Lightning says of a wrong option, in one line.
    """
    precision = config.get("precision")
    resolved = {**config, "precision": best_precision(config["accelerator"]) if precision == "auto" else precision}
    if os.environ.get("SLURM_NTASKS") == "1" and "plugins" not in config:
        # Lightning would take Slurm's one task for all of a distributed job, and requeue it by itself.
        further["plugins"] = [*further.get("plugins", []), LightningEnvironment()]
    trainer = build(resolved, **further)
    assert isinstance(trainer, Trainer)
    return trainer


def make_callbacks(configs: Mapping[str, Mapping[str, Any]], has_val: bool) -> list[Callback]:
    """New callbacks for one fold. Without val rows there is nothing to monitor, and who would monitor them is left out."""
    wanted = [c for c in configs.values() if has_val or not str(c.get("monitor", "")).startswith("val/")]
    return [build(config) for config in wanted]


def fit(
    model: FoldModel,
    data: FoldData,
    config: Mapping[str, Any],
    callbacks: Sequence[Callback],
    logger: Logger | None,
    folder: Path,
    unfinished: Unfinished | None = None,
) -> None:
    """Fit `model` on the data's current split and write ``model.ckpt`` (best epoch where one is kept) and ``history.csv``.

    With `unfinished`, epochs are kept there while it goes on, and a fit that was cut short is taken up.
    """
    steps = bool(config.get("max_epochs"))
    if not steps and ranks.size() > 1:
        unfinished = None  # each process then has a Trainer to itself, and would keep it for the others
    config, further = together(config) if steps else (apart(config), {})
    with TemporaryDirectory(dir=folder) as scratch:
        kept = ranks.first(unfinished.checkpoint) if unfinished else None
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(unfinished.folder / "best") if unfinished else scratch  # a fit taken up looks for it
        history = CSVLogger(save_dir=scratch, name="", version="")
        trainer = make_trainer(
            {**config, **({} if data.split.val else {"limit_val_batches": 0})},
            **further,
            callbacks=[*([KeepEpochs(unfinished, history)] if unfinished else []), *callbacks],
            logger=[history, *([logger] if logger else [])],
            default_root_dir=folder,
            enable_checkpointing=_any_checkpoint(callbacks),
        )
        epochs = (trainer.max_epochs or 0) - (unfinished.epochs if unfinished else 0)
        with stage("train", epochs * len(data.split.fit)):
            trainer.fit(model, datamodule=data, ckpt_path=kept, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best or (steps and ranks.size() > 1):
            model.load_state_dict(ranks.first(lambda: _state(model, best)))
        save(model, trainer, folder / "model.ckpt")
        curves = Path(scratch) / "metrics.csv"
        if curves.exists():
            curves.rename(folder / "history.csv")


def _any_checkpoint(callbacks: Sequence[Callback]) -> bool:
    """Lightning refuses such a callback where checkpoints are off."""
    return any(isinstance(callback, ModelCheckpoint) for callback in callbacks)


def _state(model: FoldModel, best: str) -> dict[str, Any]:
    """Weights of the best epoch where one is kept, else as they are."""
    state: dict[str, Any] = torch.load(best, weights_only=True)["state_dict"] if best else model.state_dict()
    return state


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
    """Predict val rows (unless the model held them out itself, because its fit included them) and test rows.

    A model that reads features of a trunk answers from those, so that another one on the same trunk finds them in `cache`.

    Returns:
        Columns ``part``, ``sample_id``, ``p/<class>``.
    """
    parts: list[Part] = ["val", "test"] if model.held_out is None and data.split.val else ["test"]
    data.predict_parts = parts
    trainer = make_trainer(
        # A smoke run shortens fitting; predictions stay complete.
        {**apart(config), "fast_dev_run": False, "limit_predict_batches": None},
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
            p = {part: _in_order(found, rows[part]) for part, found in zip(parts, by_part, strict=True)}
    tables = [predictions(ids, p[part], model.classes).assign(part=part) for part, ids in rows.items()]
    if model.held_out is not None:
        tables.append(model.held_out.assign(part="val"))
    return pd.concat(tables, ignore_index=True)


def _in_order(batches: Sequence[tuple[list[str], torch.Tensor]], sample_ids: Sequence[str]) -> NDArray[Any]:
    """Probabilities of these rows, each once, from batches of any rows of all processes: (N, K)."""
    rows: dict[str, NDArray[Any]] = {}
    shares = ranks.gathered([(ids, p.cpu().numpy()) for ids, p in batches])
    for ids, probabilities in chain.from_iterable(shares):
        rows.update(zip(ids, probabilities, strict=True))
    return np.stack([rows[sample] for sample in sample_ids])
