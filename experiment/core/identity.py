"""Identity of a run: a digest of everything that decides its numbers, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

# Settings that do not change the numbers, by config section, each with the reason. Every other one is part of the identity,
# also one that a later version of Lightning adds.
NOT_IDENTITY: Mapping[str, Mapping[str, str]] = {
    "data": {
        "root": "the digest of the samples stands for where they were read from",
        "labels": "as root",
        "columns": "as root",
        "group_from": "as root",
        "label_from": "as root",
        "intensity": "the digest of each image is of its grey values as a model sees them",
        "num_workers": "batches come in the same order",
        "cache": "a place",
        "cache_gb": "computed again where it does not fit",
    },
    "trainer": {
        "accelerator": "the numbers agree but for rounding; precision counts",
        "devices": "as accelerator; the number of processes of trainer=ddp counts by itself",
        "num_nodes": "as devices",
        "strategy": "as devices",
        "default_root_dir": "a place",
        "log_every_n_steps": "how many steps are logged",
        "profiler": "measures",
        "enable_progress_bar": "shows",
        "enable_model_summary": "shows",
        "limit_predict_batches": "all rows are predicted in any case",
        "limit_test_batches": "Lightning's test stage is not run; test rows are predicted",
        "enable_autolog_hparams": "what loggers get",
        "model_registry": "where loggers put models",
    },
    "callback": {
        "cache": "a place",
        "cache_gb": "computed again where it does not fit",
        "experiment_seed": "the seed of the experiment counts by itself",
    },
    "model": {"name": "shown only; class and settings count"},
}

# Lightning's callbacks that only look on. Any other one under ``callbacks`` may change what is trained, and counts.
OBSERVERS = frozenset(
    {
        "DeviceStatsMonitor", "LearningRateMonitor", "ModelSummary", "OnExceptionCheckpoint", "RichModelSummary",
        "RichProgressBar", "TQDMProgressBar", "ThroughputMonitor",
    }
)  # fmt: skip


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the stable name of the class that a config builds: its name without its module."""
    return str(config["_target_"]).rpartition(".")[2]


def decisive(section: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config section that decides the numbers, with the name of the class in place of its path."""
    settings = {key: value for key, value in config.items() if key not in NOT_IDENTITY.get(section, ()) and key != "_target_"}
    return {"kind": kind_of(config), **settings} if "_target_" in config else settings


def digest(record: object) -> str:
    """Return the hex digest of a plain value (mappings, lists, text, numbers); key order does not matter."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """Return the hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
