"""Identity of a run: a digest of everything that decides its numbers, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

# Keys per section that set where or how fast, not what: runs that differ only in them give the same numbers.
NOT_IDENTITY: dict[str, frozenset[str]] = {
    # The samples' own digest stands for where they were read from, and for their grey values as a model sees them.
    "data": frozenset(
        {"root", "labels", "columns", "group_from", "label_from", "intensity", "num_workers", "cache", "cache_gb"}
    ),
    "trainer": frozenset(
        {
            "accelerator", "devices", "num_nodes", "strategy", "default_root_dir", "log_every_n_steps", "profiler",
            "enable_progress_bar", "enable_model_summary", "limit_predict_batches", "limit_test_batches", "max_time",
        }
    ),
    # Place of the cache, not its content; every run records the seed of the experiment itself.
    "callback": frozenset({"cache", "cache_gb", "experiment_seed"}),
    # The class and the settings decide; the display name does not.
    "model": frozenset({"name"}),
}  # fmt: skip


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
