"""Reference script of `benchmarks.speed`: code that a careful user would write with torchvision and scikit-learn.

    python -m benchmarks.plain --data DIR --weights FILE

prints seconds and out-of-fold scores as JSON. It uses no code of the project: float32 in torch's default layout and number of
threads, images decoded in every epoch, a grid search on all cores. Nothing is slower than usual in such a script.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from benchmarks.plain_images import loader, read_labels
from benchmarks.plain_svm import svm_probabilities

RATE, DECAY = 2e-4, 0.05  # the better of 2e-4 and 5e-4 on a fold of real images, one rate for all layers

State = Mapping[str, Tensor]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Library:
    """ResNet-18 of a library, from a state dict without classifier.

    Attributes:
        classifier: builds the network with two outputs.
        taps: builds a function from images to the outputs of layer1, layer2 and layer3.
    """

    classifier: Callable[[State], nn.Module]
    taps: Callable[[State], Callable[[Tensor], Iterable[Tensor]]]


@dataclass(frozen=True)
class Settings:
    """Settings of the script.

    Attributes:
        data: folder with ``labels.csv`` (image, label, group); the last label in alphabetical order is the positive class.
        weights: file of a ResNet-18 state dict, whose ``fc`` is not used; ``none`` for random weights.
        image_size: images are resized to squares of this side.
        epochs: epochs of fine-tuning.
        folds: number of outer folds, by group.
        workers: number of processes that decode.
        models: ``resnet``, ``svm`` or both; both are averaged as ``ensemble``.
    """

    data: str
    weights: str
    image_size: int = 160
    epochs: int = 5
    folds: int = 5
    workers: int = 0
    models: tuple[str, ...] = ("resnet", "svm")


def run(settings: Settings, library: Library) -> dict[str, dict[str, float] | dict[str, dict[str, float]]]:
    """Cross-validate; return seconds per stage and, per model, scores over all out-of-fold rows."""
    began = time.perf_counter()
    rows, state = read_labels(settings.data), _state(settings.weights)
    target, group = rows["target"].to_numpy(), rows["group"].to_numpy()
    p = {model: np.full(len(rows), np.nan) for model in settings.models}
    seconds = dict.fromkeys(("fine_tune", "features", "svm"), 0.0)
    outer = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(outer.split(rows, target, group)):
        torch.manual_seed(fold)
        if "resnet" in p:
            started = time.perf_counter()
            model = _fine_tuned(library.classifier(state), rows.iloc[train], settings)
            p["resnet"][test] = _probabilities(model, rows.iloc[test], settings)
            seconds["fine_tune"] += time.perf_counter() - started
        if "svm" in p:
            started = time.perf_counter()
            features = _features(library.taps(state), rows, settings)
            seconds["features"] += time.perf_counter() - started
            started = time.perf_counter()
            p["svm"][test] = svm_probabilities(features[train], target[train], group[train], features[test])
            seconds["svm"] += time.perf_counter() - started
    if len(p) > 1:
        p["ensemble"] = np.mean(list(p.values()), axis=0)
    scores = {model: _scores(target, of_model) for model, of_model in p.items()}
    return {"seconds": {**seconds, "total": time.perf_counter() - began}, "scores": scores}


def _state(weights: str) -> State:
    if weights == "none":
        return {}
    return {name: value for name, value in torch.load(weights, weights_only=True).items() if not name.startswith("fc.")}


def _fine_tuned(model: nn.Module, rows: pd.DataFrame, settings: Settings) -> nn.Module:
    batches = loader(rows, settings.image_size, settings.workers, train=True)
    count = np.bincount(rows["target"])
    loss = nn.CrossEntropyLoss(torch.tensor(len(rows) / (2 * count), dtype=torch.float32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=settings.epochs * len(batches))
    model.train()
    for _ in range(settings.epochs):
        for images, target in batches:
            optimizer.zero_grad()
            loss(model(images), target).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _probabilities(model: nn.Module, rows: pd.DataFrame, settings: Settings) -> Floats:
    batches = loader(rows, settings.image_size, settings.workers, train=False)
    with torch.inference_mode():
        return torch.cat([model(images).softmax(dim=1)[:, 1] for images, _ in batches]).double().numpy()


def _features(taps: Callable[[Tensor], Iterable[Tensor]], rows: pd.DataFrame, settings: Settings) -> NDArray[np.float32]:
    batches = loader(rows, settings.image_size, settings.workers, train=False)
    with torch.inference_mode():
        return torch.cat([torch.cat([tap.mean(dim=(2, 3)) for tap in taps(images)], dim=1) for images, _ in batches]).numpy()


def _scores(target: NDArray[np.int64], p: Floats) -> dict[str, float]:
    auroc, balanced = roc_auc_score(target, p), balanced_accuracy_score(target, p > 0.5)
    return {"balanced_accuracy": float(balanced), "auroc": float(auroc)}


def _classifier(state: State) -> nn.Module:
    model: nn.Module = models.resnet18(num_classes=2)
    model.load_state_dict(state, strict=False)
    return model


def _taps(state: State) -> Callable[[Tensor], Iterable[Tensor]]:
    cut = create_feature_extractor(_classifier(state).eval(), ["layer1", "layer2", "layer3"])
    return lambda images: cut(images).values()


TORCHVISION = Library(_classifier, _taps)


def main(library: Library) -> None:
    """Run with the settings of the command line and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    for name in ("image_size", "epochs", "folds", "workers"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Settings, name))
    parser.add_argument("--models", nargs="+", choices=Settings.models, default=Settings.models)
    chosen = vars(parser.parse_args())
    settings = Settings(**{**chosen, "models": tuple(chosen["models"])})
    print(json.dumps({"settings": asdict(settings), **run(settings, library)}))


if __name__ == "__main__":
    main(TORCHVISION)
