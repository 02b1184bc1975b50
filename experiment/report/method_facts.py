"""Methods of a report's models in words, derived from the settings of any model."""

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
    "error": "images with the same pixels in two groups or under two labels are refused",
    "tie": "groups with images of the same pixels are merged",
}


def each(content: Content, describe: Callable[[str, Run], str]) -> str:
    """Describe each run by title; leave out runs with an empty description."""
    return "; ".join(f"{title}: {text}" for title, run in content.runs.items() if (text := describe(title, run)))


def alike(content: Content, describe: Callable[[Run], str]) -> str:
    """Describe all runs, once if they are the same: compared runs may differ in folds, seed or image size."""
    texts = {describe(run) for run in content.runs.values()}
    return texts.pop() if len(texts) == 1 else each(content, lambda _, run: describe(run))


def spanned(values: Iterable[int]) -> str:
    """Return one number, or the range from the smallest to the largest."""
    ordered = sorted(values)
    return str(ordered[0]) if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def preprocessing(content: Content) -> str:
    """Describe the steps from the file to the input of a model; values in [0, 1] are the contract of a batch."""

    def describe(run: Run) -> str:
        data = run.config["data"]
        size = f"resized to squares of {data['image_size']} pixels" if "image_size" in data else ""
        copies = COPIES.get(data.get("on_duplicate"), "")
        return "; ".join(filter(None, [size, "RGB values in [0, 1]", copies]))

    return alike(content, describe)


def model(content: Content) -> str:
    """Describe class, trunk, input and output."""

    def describe(_: str, run: Run) -> str:
        kind = str(run.config["model"]["_target_"]).rsplit(".", 1)[-1]
        trunk = settings(_trunk(run), "weights")
        return f"{kind} on trunk {trunk}" if trunk else kind

    sides = {side for run in content.runs.values() if (side := run.config["data"].get("image_size"))}
    size = f" of {spanned(sides)} pixels a side" if sides else ""
    return f"{each(content, describe)}; input: an image{size}; output: probabilities of {', '.join(content.classes)}"


def hyperparameters(content: Content) -> str:
    """List all settings of each model except its trunk."""
    return each(content, lambda _, run: settings(run.config["model"], "name", "trunk"))


def class_weights(content: Content) -> str:
    """Return ``class_weights`` of each model, at any depth of its settings."""
    return each(content, lambda _, run: _find(run.config["model"], "class_weights"))


def weights(content: Content) -> str:
    """Describe the start of each model: other models of the fold, a file, or random weights."""

    def describe(_: str, run: Run) -> str:
        if inputs := _inputs(run):
            return f"from {' and '.join(inputs)} of the same fold"
        if "weights" not in _trunk(run):
            return ""
        source = _trunk(run)["weights"]
        digest = run.record.get("files", {}).get("trunk.weights")
        return _value(source) + (f" (content {digest})" if digest else "") if source else "random"

    return each(content, describe)


def training(content: Content) -> str:
    """Describe epochs, batches, precision, callbacks and augmentation of the training."""

    def describe(title: str, run: Run) -> str:
        trainer, data, epochs = run.config["trainer"], run.config["data"], content.curves.get(title)
        callbacks = settings(_callbacks(run) or {})
        if not epochs:  # no epochs, or a model that logs no loss: only the former surely takes no step
            step = "no gradient step" if trainer.get("max_epochs") == 0 else ""
            return ", ".join(filter(None, [step, callbacks, _how_fitted(run)]))
        used = {key: trainer[key] for key in TRAINER if key in trainer}
        used |= {key: data[key] for key in ("batch_size", "augment") if key in data}
        number = spanned(len(frame) for frame in epochs.values())
        count = f"{number} epoch{'' if number == '1' else 's'} in each of {len(epochs)} folds"
        return ", ".join(filter(None, [count, settings(used), callbacks, _how_fitted(run)]))

    return each(content, describe)


def seed(content: Content) -> str:
    """Return the number that all seeds derive from."""
    return alike(content, lambda run: f"seed {run.config['seed']}, from which each fold and stage derives its own")


def selection(content: Content) -> str:
    """Describe how the epoch was selected, and the choice between models."""

    def epoch(title: str, run: Run) -> str:
        callbacks = _callbacks(run)
        if title not in content.curves or callbacks is None:
            return ""
        monitors = [c.get("monitor") for c in callbacks.values() if str(c.get("_target_", "")).endswith("ModelCheckpoint")]
        return f"epoch with the best {monitors[0]}" if any(monitors) else "last epoch"

    best, *others = ranked(content.evidence)
    among = f"all {len(others) + 1} models are reported, the best in {METRIC_WORDS[TESTED[0]]} on test rows is {best}"
    return "; ".join(filter(None, [each(content, epoch), among if others else "one model is reported"]))


def ensemble(content: Content) -> str:
    """Describe the members and the combiner."""

    def describe(_: str, run: Run) -> str:
        members = _inputs(run)
        return (
            f"combines {' and '.join(members)}, {settings(run.config['model'], 'name', 'trunk')}" if len(members) > 1 else ""
        )

    return each(content, describe) or "no model combines others"


def settings(config: Mapping[str, Any], *without: str) -> str:
    """List names and values, nested ones in brackets, without class paths."""
    return ", ".join(f"{key} {_value(value)}".strip() for key, value in config.items() if key not in (*without, "_target_"))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({inner})" if (inner := settings(value)) else ""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    text = "none" if value is None else str(value)
    return Path(text).name if Path(text).is_absolute() else text  # folders of one machine mean nothing to a reader


def _find(config: Mapping[str, Any], key: str) -> str:
    inner = (_find(value, key) for value in config.values() if isinstance(value, Mapping))
    return _value(config[key]) if key in config else next(filter(None, inner), "")


def _trunk(run: Run) -> Mapping[str, Any]:
    trunk = run.config["model"].get("trunk")
    return trunk if isinstance(trunk, Mapping) else {}


def _inputs(run: Run) -> list[str]:
    marker = next(iter(run.markers.values()), {})
    return [marker.get("titles", {}).get(name, name) for name in marker.get("inputs", {})]


def _how_fitted(run: Run) -> str:
    """Return the models' descriptions of their own fit, with the number of folds that each applies to."""
    counts = Counter(text for marker in run.markers.values() if (text := marker.get("how_fitted")))
    return ", ".join(f"{text} in {folds} of {len(run.markers)} folds" for text, folds in counts.items())


def _callbacks(run: Run) -> dict[str, Any] | None:
    """Return the callbacks of the fit, None if not recorded. Without val rows, callbacks that monitor them do not run."""
    callbacks = run.record.get("callbacks")
    if callbacks is None or run.config["folds"]["val"]:
        return callbacks
    return {name: config for name, config in callbacks.items() if not str(config.get("monitor", "")).startswith("val/")}
