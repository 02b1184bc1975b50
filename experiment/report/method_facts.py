"""How the models of a report were made, in words: from their settings, whatever the model is."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiment.metrics.evidence import TESTED
from experiment.report.content import Content
from experiment.report.findings import METRIC_WORDS, ranked
from experiment.store.runs import Run

TRAINER = ("precision", "gradient_clip_val", "accumulate_grad_batches")  # settings of the Trainer that change the numbers
COPIES = {
    "error": "images of the same pixels in two groups or under two labels are refused",
    "tie": "groups with images of the same pixels are put into one",
}


def each(content: Content, told: Callable[[str, Run], str]) -> str:
    """What is told of each run, by title; runs of which nothing is told are left out."""
    return "; ".join(f"{title}: {said}" for title, run in content.runs.items() if (said := told(title, run)))


def alike(content: Content, told: Callable[[Run], str]) -> str:
    """What is told of all runs, once if it is the same: compared runs may differ in folds, seed or image size."""
    said = {told(run) for run in content.runs.values()}
    return said.pop() if len(said) == 1 else each(content, lambda _, run: told(run))


def spanned(values: Iterable[int]) -> str:
    """One number, or from the smallest to the largest."""
    found = sorted(values)
    return str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def preprocessing(content: Content) -> str:
    """From the file to what a model sees; that values lie in [0, 1] is the contract of a batch."""

    def told(run: Run) -> str:
        data = run.config["data"]
        size = f"resized to squares of {data['image_size']} pixels" if "image_size" in data else ""
        copies = COPIES.get(data.get("on_duplicate"), "")
        return "; ".join(filter(None, [size, "RGB values in [0, 1]", copies]))

    return alike(content, told)


def model(content: Content) -> str:
    """Return class, trunk, input and output."""

    def told(_: str, run: Run) -> str:
        kind = str(run.config["model"]["_target_"]).rsplit(".", 1)[-1]
        trunk = settings(_trunk(run), "weights")
        return f"{kind} on trunk {trunk}" if trunk else kind

    sides = {side for run in content.runs.values() if (side := run.config["data"].get("image_size"))}
    size = f" of {spanned(sides)} pixels a side" if sides else ""
    return f"{each(content, told)}; input: an image{size}; output: probabilities of {', '.join(content.classes)}"


def hyperparameters(content: Content) -> str:
    """Return all settings of each model but its trunk."""
    return each(content, lambda _, run: settings(run.config["model"], "name", "trunk"))


def class_weights(content: Content) -> str:
    """The setting of this name in each model, at whatever depth."""
    return each(content, lambda _, run: _find(run.config["model"], "class_weights"))


def weights(content: Content) -> str:
    """Where each model starts: from other models of the fold, a file, or at random."""

    def told(_: str, run: Run) -> str:
        if inputs := _inputs(run):
            return f"from {' and '.join(inputs)} of the same fold"
        if "weights" not in _trunk(run):
            return ""
        given = _trunk(run)["weights"]
        digest = run.record.get("files", {}).get("trunk.weights")
        return _told(given) + (f" (content {digest})" if digest else "") if given else "random"

    return each(content, told)


def training(content: Content) -> str:
    """Epochs, batches, precision, callbacks and augmentation of what was trained."""

    def told(title: str, run: Run) -> str:
        trainer, data, epochs = run.config["trainer"], run.config["data"], content.curves.get(title)
        callbacks = settings(_callbacks(run) or {})
        if not epochs:  # fitted without epochs, or by a model that logs no loss: only the former is known to take no step
            step = "no gradient step" if trainer.get("max_epochs") == 0 else ""
            return ", ".join(filter(None, [step, callbacks, _how_fitted(run)]))
        used = {key: trainer[key] for key in TRAINER if key in trainer}
        used |= {key: data[key] for key in ("batch_size", "augment") if key in data}
        count = f"{spanned(len(frame) for frame in epochs.values())} epochs in each of {len(epochs)} folds"
        return ", ".join(filter(None, [count, settings(used), callbacks, _how_fitted(run)]))

    return each(content, told)


def seed(content: Content) -> str:
    """The one number that all seeds come from."""
    return alike(content, lambda run: f"seed {run.config['seed']}, from which each fold and stage has its own")


def selection(content: Content) -> str:
    """Which epoch is kept, and what was chosen between models."""

    def kept(title: str, run: Run) -> str:
        callbacks = _callbacks(run)
        if title not in content.curves or callbacks is None:
            return ""
        keepers = [c.get("monitor") for c in callbacks.values() if str(c.get("_target_", "")).endswith("ModelCheckpoint")]
        return f"epoch with the best {keepers[0]}" if any(keepers) else "last epoch"

    best, *others = ranked(content.evidence)
    among = f"all {len(others) + 1} models are reported, the best in {METRIC_WORDS[TESTED[0]]} on test rows is {best}"
    return "; ".join(filter(None, [each(content, kept), among if others else "one model is reported"]))


def ensemble(content: Content) -> str:
    """Members and the way they are combined."""

    def told(_: str, run: Run) -> str:
        members = _inputs(run)
        return (
            f"combines {' and '.join(members)}, {settings(run.config['model'], 'name', 'backbone')}"
            if len(members) > 1
            else ""
        )

    return each(content, told) or "no model combines others"


def settings(config: Mapping[str, Any], *without: str) -> str:
    """Names and values, nested ones in brackets; class paths are left out."""
    return ", ".join(f"{key} {_told(value)}".strip() for key, value in config.items() if key not in (*without, "_target_"))


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({inner})" if (inner := settings(value)) else ""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_told, value))}]"
    text = "none" if value is None else str(value)
    return Path(text).name if Path(text).is_absolute() else text  # folders of one machine say nothing to a reader


def _find(config: Mapping[str, Any], key: str) -> str:
    inner = (_find(value, key) for value in config.values() if isinstance(value, Mapping))
    return _told(config[key]) if key in config else next(filter(None, inner), "")


def _trunk(run: Run) -> Mapping[str, Any]:
    found = run.config["model"].get("trunk")
    return found if isinstance(found, Mapping) else {}


def _inputs(run: Run) -> list[str]:
    return list(next(iter(run.markers.values()), {}).get("inputs", {}))


def _how_fitted(run: Run) -> str:
    """What the models say of their own fit, with the number of folds that say so."""
    told = Counter(said for marker in run.markers.values() if (said := marker.get("how_fitted")))
    return ", ".join(f"{said} in {folds} of {len(run.markers)} folds" for said, folds in told.items())


def _callbacks(run: Run) -> dict[str, Any] | None:
    """Those that took part in fitting: without val rows the ones that monitor them are left out. None if not recorded."""
    found = run.record.get("callbacks")
    if found is None or run.config["folds"]["val"]:
        return found
    return {name: config for name, config in found.items() if not str(config.get("monitor", "")).startswith("val/")}
