"""Cost of a run, summed over its folds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Cost = dict[str, Any]


def cost(markers: Iterable[Mapping[str, Any]]) -> Cost:
    """Sum the costs in the markers of a run's finished folds (see `experiment.core.timing`).

    Returns:
        ``seconds`` of work; ``stages``, seconds per stage; ``images_per_second`` per stage; ``model_busy``, the share of
        training time that is not spent waiting for images; ``peak_memory_mib`` of the largest process.
    """
    folds = list(markers)
    seconds, images, steps = Counter[str](), Counter[str](), Counter[str]()
    for fold in folds:
        seconds.update(fold.get("stages", {}))
        images.update(fold.get("images", {}))
        steps.update(fold.get("steps", {}))
    peaks = {name for fold in folds for name in fold if name.startswith("peak_")}
    return {
        "seconds": round(sum(fold.get("seconds", 0.0) for fold in folds), 2),
        "stages": {name: round(spent, 2) for name, spent in seconds.items()},
        "images_per_second": {name: round(n / seconds[name], 1) for name, n in images.items() if n and seconds[name]},
        **({"model_busy": round(steps["model"] / steps.total(), 4)} if steps.total() else {}),
        **{name: max(fold[name] for fold in folds if name in fold) for name in sorted(peaks)},
    }


def in_words(spent: Cost) -> str:
    """Return the cost as one line of text."""
    stages = []
    for name, seconds in sorted(spent["stages"].items(), key=lambda item: -item[1]):
        rate = spent["images_per_second"].get(name)
        notes = [f"{rate:.0f} images/s"] if rate else []
        if name == "train" and "model_busy" in spent:
            notes.append(f"model busy {spent['model_busy']:.0%}")
        if seconds >= 1:
            stages.append(f"{name} {duration(seconds)}" + (f" ({', '.join(notes)})" if notes else ""))
    memory = f"; peak memory {spent['peak_memory_mib'] / 1024:.1f} GiB" if "peak_memory_mib" in spent else ""
    return duration(spent["seconds"]) + (f": {', '.join(stages)}" if stages else "") + memory


def duration(seconds: float) -> str:
    """Format seconds as text, from 90 on as minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
