"""Facts about the data, folds and results of a run: sentences with its numbers."""

import math
from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from experiment.core.tables import PARTS, SampleTable, probability_columns
from experiment.metrics.evidence import TESTED
from experiment.metrics.scores import METRICS
from experiment.report import method_facts as fitting
from experiment.report.content import Content
from experiment.report.findings import METRIC_WORDS, ranked
from experiment.report.method_facts import alike, each, spanned
from experiment.store.runs import Run


def facts(content: Content) -> dict[str, str]:
    """Return the facts by the keys of `FACTS`, without those that the run cannot state."""
    return {key: text for key, fact in FACTS.items() if (text := fact(content))}


def _partition(content: Content) -> str:
    def describe(run: Run) -> str:
        rows, samples, settings = run.placed, run.samples, run.config["folds"]
        repeats, (count, shared) = rows["repeat"].nunique(), _sharing(rows)
        times = f", {repeats} times" if repeats > 1 else ""
        unit = "group" if samples.grouped and settings["grouped"] else "image"
        parts = "fit, val and test" if (rows["part"] == "val").any() else "fit and test"
        apart = f"share groups in {shared} of {count} folds" if shared else f"of each fold share no {unit}"
        named = f"{unit} (patient)" if unit == "group" else unit
        counts = _counts(samples) + ("" if samples.grouped else "; the data set names no groups")
        return f"{count // repeats} folds{times} by {named}; {parts} {apart}; {counts}; seed {run.config['seed']}"

    return alike(content, describe)


def _sharing(rows: pd.DataFrame) -> tuple[int, int]:
    """Count the folds, and the folds that have a group in more than one part."""
    crossing = rows.groupby(["repeat", "fold", "group"])["part"].nunique().gt(1).groupby(["repeat", "fold"]).any()
    return len(crossing), int(crossing.sum())


def _counts(samples: SampleTable) -> str:
    groups = f"{len(set(samples.group))} groups, " if samples.grouped else ""
    return f"{groups}{len(samples.rows)} images"


def _classes(samples: SampleTable) -> str:
    return ", ".join(f"{(samples.target == number).sum()} {name}" for number, name in enumerate(samples.classes))


def _splits(content: Content) -> str:
    def describe(run: Run) -> str:
        samples, rows, parts = run.samples, run.placed, []
        for part in (part for part in PARTS if (rows["part"] == part).any()):
            folds = rows[rows["part"] == part].groupby(["repeat", "fold"])
            groups = f" of {spanned(folds['group'].nunique())} groups" if samples.grouped else ""
            positives = spanned(folds["positive"].sum())
            parts.append(f"{part} {spanned(folds.size())} images{groups}, {positives} of them {samples.positive}")
        return f"stratified by class, shuffled by seed {run.config['seed']}; in each fold {'; '.join(parts)}"

    return alike(content, describe)


def _size(content: Content) -> str:
    samples = content.last.samples
    text = f"{_counts(samples)}: {_classes(samples)}"
    detectable = [pair["detectable"] for pair in content.evidence["pairs"] if pair["metric"] == TESTED[0]]
    if detectable:  # by detectable_difference, one test at 5 %
        least = _number(max(detectable))
        text += f"; differences in {METRIC_WORDS[TESTED[0]]} of {least} or more are detected with 80 % power, unadjusted"
    return text


def _balance(content: Content) -> str:
    weights = fitting.class_weights(content)
    return f"{_classes(content.last.samples)}; class weights: {weights}" if weights else ""


def _missing(content: Content) -> str:
    columns = probability_columns(content.classes)
    predicted = [run.oof[columns].notna().all(axis=1) for run in content.runs.values()]
    complete, rows = sum(int(by_row.sum()) for by_row in predicted), sum(map(len, predicted))
    images = len(content.last.samples.rows)
    return f"each of {images} images has a label; {complete} of {rows} predictions are present; nothing is imputed"


def _metrics(content: Content) -> str:
    model = content.evidence["models"][ranked(content.evidence)[0]]
    calibration = [key for key, value in model["calibration"].items() if not isinstance(value, list)]
    text = f"{_words(model['metrics'])}; calibration: {_words(calibration)}; curves: {_words(model['curves'])}"
    return text + (f"; models are compared in {_words(TESTED)}" if content.evidence["pairs"] else "")


def _uncertainty(content: Content) -> str:
    method, pairs = content.evidence["method"], content.evidence["pairs"]
    text = f"intervals: {method['interval']}, {method['resamples']} resamples of {method['clusters']}"
    return text + (f"; tests: {method['test']} over {len(pairs)} comparisons" if pairs else "")


def _spread(content: Content) -> str:
    def describe(_: str, run: Run) -> str:
        score = run.scores["auroc"]
        return f"AUROC {_number(score['mean'])}, standard deviation {_number(score['sd'])} over {len(score['folds'])} folds"

    return each(content, describe)


def _testing(content: Content) -> str:
    def describe(run: Run) -> str:
        count, shared = _sharing(run.placed)
        unit = "its group" if run.samples.grouped and not shared else "it"
        leak = f", but with others of its group in {shared} of {count} folds" if shared else ""
        return f"each image is predicted once per repeat, by the model of a fold that was fitted without {unit}{leak}"

    return alike(content, describe)


def _measured(*names: str) -> Callable[[Content], str]:
    def fact(content: Content) -> str:
        def describe(title: str, _: Run) -> str:
            metrics = content.evidence["models"][title]["metrics"]
            parts = {name: [_number(metrics[name][key]) for key in ("value", "low", "high")] for name in names}
            return ", ".join(f"{_words([name])} {value} ({low} to {high})" for name, (value, low, high) in parts.items())

        return each(content, describe)

    return fact


def _calibration(content: Content) -> str:
    def describe(title: str, _: Run) -> str:
        calibration = content.evidence["models"][title]["calibration"]
        return ", ".join(f"{_words([name])} {_number(calibration[name])}" for name in ("slope", "intercept", "ece"))

    return f"calibration: {each(content, describe)}"


def _failures(content: Content) -> str:
    def describe(title: str, _: Run) -> str:
        rows = zip(content.classes, content.confusion[title], strict=True)
        return " and ".join(f"{sum(row) - row[k]} of {sum(row)} {name}" for k, (name, row) in enumerate(rows))

    shared = f"the report shows {len(content.hardest)} images that every model gets wrong"
    return f"wrong predictions: {each(content, describe)}; {shared}"


def _software(content: Content) -> str:
    versions = {name: v for name, v in content.versions.items() if name != "machine" and v not in ("unknown", "not installed")}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _compute(content: Content) -> str:
    def describe(title: str, run: Run) -> str:
        return f"{run.cost['seconds'] / 60:.1f} min for {len(run.markers)} folds"

    return "; ".join(filter(None, [content.versions.get("machine", ""), each(content, describe)]))


def _artefacts(content: Content) -> str:
    runs = ", ".join(f"{run.path.name} ({len(run.markers)} folds)" for run in content.runs.values())
    return (
        f"ready to share in {runs}: every prediction (oof.parquet), the splits (splits.parquet), the settings (config.yaml), "
        "the fitted model of each fold (model.ckpt); where they are published is for the authors to add"
    )


def _words(names: Iterable[str]) -> str:
    plain = {**METRICS, **METRIC_WORDS, **{name: name for name in ("accuracy", "sensitivity", "specificity")}, "ece": "ECE"}
    return ", ".join(plain.get(name, name.replace("_", " ")) for name in names)


def _number(value: float) -> str:
    return f"{value:z.3f}" if math.isfinite(value) else "undefined"


FACTS: Mapping[str, Callable[[Content], str]] = {
    "output": lambda content: f"probabilities of {', '.join(content.classes)}; the largest decides",
    "partition": _partition, "splits": _splits, "size": _size, "balance": _balance, "missing": _missing,
    "metrics": _metrics, "uncertainty": _uncertainty, "spread": _spread, "testing": _testing,
    "performance": _measured(*TESTED), "diagnostic": _measured("sensitivity", "specificity"), "calibration": _calibration,
    "failures": _failures, "software": _software, "compute": _compute, "artefacts": _artefacts,
    "preprocessing": fitting.preprocessing, "model": fitting.model, "hyperparameters": fitting.hyperparameters,
    "weights": fitting.weights, "training": fitting.training, "seed": fitting.seed, "selection": fitting.selection,
    "ensemble": fitting.ensemble,
}  # fmt: skip
"""Functions that state each fact; an empty text means that the run cannot state it."""
