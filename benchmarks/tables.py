"""Markdown tables of measurements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.settings import ALL, BARE, FEATURES, FROZEN, FROZEN_MANY, PLAIN, PLAIN_SVM, WHOLE, Script


@dataclass(frozen=True)
class Measurement:
    """Measurement of one run of one setting.

    Attributes:
        seconds: wall time of the whole process.
        cpu_seconds: user and system time.
        peak_gb: memory of the largest process, in GiB.
        balanced_accuracy: over all out-of-fold rows, of the ensemble if there is one; None without predictions.
        auroc: likewise.
        features: seconds of computing features; None if they are not measured separately.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    balanced_accuracy: float | None = None
    auroc: float | None = None
    features: float | None = None


Measured = Mapping[str, Sequence[Measurement]]
"""Runs by setting. Runs at the same position belong to the same turn and are compared as a pair."""


def report(measured: Measured, images: int) -> str:
    """Return all tables that have measurements."""
    parts = [whole_table(measured), features_table(measured, images), growth_table(measured)]
    return "\n\n".join(part for part in parts if part) + "\n"


def whole_table(measured: Measured) -> str:
    """Compare whole jobs with the plain script."""
    head = (
        "setting", "seconds, min / median / max", f"times as fast as the {PLAIN}", "processor seconds", "peak memory, GiB",
        "balanced accuracy / AUROC",
    )  # fmt: skip
    return _table(
        head,
        [
            (
                name, _spread([run.seconds for run in runs]), _ratio(measured, PLAIN, name, _seconds),
                f"{median(run.cpu_seconds for run in runs):.0f}", f"{max(run.peak_gb for run in runs):.2f}", _scores(runs),
            )
            for name, runs in _there(measured, WHOLE)
        ],
    )  # fmt: skip


def features_table(measured: Measured, images: int) -> str:
    """Compare the stage of features of `images` for all folds with the plain script and the bare forward pass.

    The scripts stop after layer3; the project and the bare pass continue to layer4, and the project pools in three ways.
    """
    rows = []
    for name, runs in _there(measured, FEATURES):
        setting, seconds = ALL[name], [_features(run) for run in runs]
        passes = setting.passes if isinstance(setting, Script) else 1
        rate = f"{median(images * passes / s for s in seconds):.0f}"
        share = _ratio(measured, BARE, name, _features, factor=passes, digits=2)
        faster = _ratio(measured, PLAIN_SVM, name, _features)
        rows.append((name, _spread(seconds), faster, rate, share, _scores(runs)))
    head = (
        f"features of {images} images for all folds", "seconds, min / median / max", f"times as fast as the {PLAIN_SVM}",
        "images per second", f"share of the {BARE}'s", "balanced accuracy / AUROC of the SVM",
    )  # fmt: skip
    return _table(head, rows)


def growth_table(measured: Measured) -> str:
    """Show the cost of more images."""
    rows = [
        (
            name, _spread([run.seconds for run in runs]), _ratio(measured, name, FROZEN, _seconds),
            f"{max(run.peak_gb for run in runs):.2f}",
        )
        for name, runs in _there(measured, (FROZEN, FROZEN_MANY))
    ]  # fmt: skip
    head = ("frozen backbone", "seconds, min / median / max", f"times the seconds of the {FROZEN}", "peak memory, GiB")
    return _table(head, rows) if FROZEN_MANY in measured else ""


def _there(measured: Measured, names: Iterable[str]) -> list[tuple[str, Sequence[Measurement]]]:
    return [(name, measured[name]) for name in names if measured.get(name)]


def _seconds(run: Measurement) -> float:
    return run.seconds


def _features(run: Measurement) -> float:
    return run.seconds if run.features is None else run.features


def _ratio(
    measured: Measured, slow: str, fast: str, cost: Callable[[Measurement], float], factor: float = 1, digits: int = 1
) -> str:
    """Return the median of the paired ratios of costs, slow / fast, with the smallest and the largest."""
    ratios = [factor * cost(a) / cost(b) for a, b in zip(measured.get(slow, ()), measured[fast], strict=False)]
    if not ratios:
        return "–"
    return f"{median(ratios):.{digits}f} ({min(ratios):.{digits}f}–{max(ratios):.{digits}f})"


def _spread(seconds: Sequence[float]) -> str:
    return " / ".join(f"{of(seconds):.1f}" for of in (min, median, max))


def _scores(runs: Sequence[Measurement]) -> str:
    """Return median scores, so that a setting whose scores vary does not show a lucky one."""
    pairs = [(run.balanced_accuracy, run.auroc) for run in runs if run.balanced_accuracy is not None and run.auroc is not None]
    if not pairs:
        return "–"
    return " / ".join(f"{median(values):.3f}" for values in zip(*pairs, strict=True))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
