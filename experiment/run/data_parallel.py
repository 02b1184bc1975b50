"""One fold on several processes (``trainer=ddp``): what a Trainer is told, and which settings are refused.

The numbers are those of one process, but for rounding: the batches are the same and cut into shares
(`datamodules.shared_batches`), batch norm sees whole batches (`batch_norm`), the loss is weighted as over the whole
batch (`lightning_modules.resnet`). Gradient steps are taken together. All other work is divided by `ranks`, and
each process has a Trainer to itself.
"""

import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy

from experiment.core import ranks
from experiment.core.errors import UserError, not_allowed
from experiment.run.batch_norm import WholeBatchNorm


class Steps(DDPStrategy):
    """DDP whose processes end at once when they are told to: the launcher ends the others.

    Lightning's handler of SIGTERM calls the others, which wait in some other call, and so all wait for ever.
    """

    def on_train_start(self) -> None:
        """Lightning has set its handlers by now, and takes them away after training."""
        super().on_train_start()
        signal.signal(signal.SIGTERM, _end)


def _end(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


def check(trainer: Trainer, config: Mapping[str, Any]) -> None:
    """Refuse what would give other numbers than one process, or does not work.

    Args:
        trainer: built from the job's settings as they are.
        config: the resolved config.

    Raises:
        UserError: naming the setting.
    """
    size, strategy = trainer.world_size, config["trainer"].get("strategy", "auto")
    if not ranks.wanted(config["trainer"]):
        if size > 1:
            raise not_allowed(f"trainer.devices={config['trainer']['devices']} with trainer.strategy", strategy, ["ddp"])
        return
    batch = config["data"].get("batch_size")
    if batch is not None and batch % size:
        near = max(batch // size, 1) * size
        raise UserError(
            f"data.batch_size={batch} is the whole batch, which {size} processes cannot divide; take a multiple of {size}, "
            f"such as {near}."
        )
    parallel = config["folds"]["parallel"]
    if parallel not in ("auto", 1):
        raise UserError(f"folds.parallel={parallel} does not go with trainer=ddp, which works on one fold at a time; take 1.")


def together(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Settings, and further arguments, of a Trainer that takes gradient steps with the other processes."""
    if ranks.size() == 1:
        return apart(config), {}
    # Lightning would seed again when it finds the processes connected, which it does not do in one process.
    os.environ.pop("PL_GLOBAL_SEED", None)
    on_gpu = torch.cuda.is_available() and config["accelerator"] != "cpu"
    return config, {
        # Batch norm's statistics are the same everywhere; sent with every batch they would tie validation to equal shares.
        "strategy": Steps(broadcast_buffers=False),
        "use_distributed_sampler": False,  # it repeats rows to fill shares up
        **({"sync_batchnorm": True} if on_gpu else {"plugins": [WholeBatchNorm()]}),
    }


def apart(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of a Trainer of this process alone, on its own device."""
    if not ranks.wanted(config):
        return config
    on_gpu = torch.cuda.is_available() and config["accelerator"] != "cpu"
    return {**config, "strategy": "auto", "num_nodes": 1, "devices": [torch.cuda.current_device()] if on_gpu else 1}
