"""Wrong input at the command line: one line that names the culprit and the way out, and nothing is trained.

Most cases call `train.main` in this process, because starting a new one takes seconds; a few are real commands.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from torchvision import models

import train
from experiment.run import cross_validation as crossval

TRAIN = Path(train.__file__)
SMALL = ["data.images=40", "data.patients=10", "data.image_size=32", "trainer=cpu", "logger=none"]
FOLDER = ["data=folder", "data.image_size=32", "trunk.weights=null", "trainer=cpu", "logger=none"]
ErrorOf = Callable[..., str]


@pytest.fixture
def error_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ErrorOf:
    """Runs the command with some overrides and gives the one line that it ends with."""

    def began(*_: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(crossval.CrossValidation, "run", began)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> str:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # the command itself sets it
        monkeypatch.setattr(sys, "argv", [str(TRAIN), *overrides])
        GlobalHydra.instance().clear()
        try:
            with pytest.raises(SystemExit) as caught:
                train.main()
        finally:
            GlobalHydra.instance().clear()
        text = caught.value.code
        assert isinstance(text, str), f"exit code {text} and no text"  # text: python prints it, and the exit code is 1
        assert text.startswith("error: ")
        assert "\n" not in text
        assert "Traceback" not in text
        # decoded images stay, for the command that is mended
        assert [path.name for path in tmp_path.glob("runs/*")] in ([], ["cache"])
        return text

    return run


def names(text: str, *parts: str) -> None:
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


def labelled(root: Path, *rows: str, header: str = "image,label,group") -> str:
    """A folder of ten different images, 0.png to 9.png, and a labels file; the override that names it."""
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(10):
        Image.fromarray(draw.integers(0, 256, (32, 32), dtype=np.uint8)).save(root / f"{number}.png")
    (root / "labels.csv").write_text("\n".join([header, *rows]))
    return f"data.root={root}"


GOOD = [f"{number}.png,{('no', 'yes')[number % 2]},p{number // 2}" for number in range(10)]


def test_this_suite_notices_when_training_begins(tmp_path: Path, error_of: ErrorOf) -> None:
    with pytest.raises(AssertionError, match="training began"):
        error_of(*FOLDER, labelled(tmp_path / "images", *GOOD))


# --- the data


def test_a_root_that_is_not_given(error_of: ErrorOf) -> None:
    names(error_of("data=folder"), "data.root is not set", "data.root=")


def test_a_root_that_is_no_folder(tmp_path: Path, error_of: ErrorOf) -> None:
    names(error_of(*FOLDER, f"data.root={tmp_path}/nowhere"), f"data.root={tmp_path}/nowhere", "is not a folder")


def test_an_empty_folder(tmp_path: Path, error_of: ErrorOf) -> None:
    (tmp_path / "empty").mkdir()
    names(error_of(*FOLDER, f"data.root={tmp_path}/empty"), f"{tmp_path}/empty", "labels.csv", "sub-folders", "data.labels=")


def test_absent_images(tmp_path: Path, error_of: ErrorOf) -> None:
    root = labelled(tmp_path / "images", *GOOD, "10.png,no,p5")
    names(error_of(*FOLDER, root), "labels.csv", "1 images that do not exist", "10.png")


def test_one_class_only(tmp_path: Path, error_of: ErrorOf) -> None:
    root = labelled(tmp_path / "images", *(f"{n}.png,no,p{n}" for n in range(10)))
    names(error_of(*FOLDER, root), "all 10 images", "'no'", "at least two classes")


def test_a_truncated_image(tmp_path: Path, error_of: ErrorOf) -> None:
    root = labelled(tmp_path / "images", *GOOD)
    path = tmp_path / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    names(error_of(*FOLDER, root), "1 unreadable images", "3.png", "truncated", "Replace or remove")


def test_a_path_outside_the_root(tmp_path: Path, error_of: ErrorOf) -> None:
    root = labelled(tmp_path / "images", *GOOD, "../x.png,no,p5")
    Image.new("L", (32, 32)).save(tmp_path / "x.png")
    names(error_of(*FOLDER, root), "outside data.root", "../x.png")


def test_a_row_given_twice(tmp_path: Path, error_of: ErrorOf) -> None:
    names(error_of(*FOLDER, labelled(tmp_path / "images", *GOOD, GOOD[4])), "listed twice", "4.png", "one row per image")


def with_a_copy(root: Path, *rows: str) -> str:
    """1.png becomes a copy of 0.png."""
    override = labelled(root, *rows)
    (root / "1.png").write_bytes((root / "0.png").read_bytes())
    return override


def test_the_same_image_under_two_labels(tmp_path: Path, error_of: ErrorOf) -> None:
    text = error_of(*FOLDER, with_a_copy(tmp_path / "images", *GOOD))
    names(text, "two labels", "no, yes", "0.png", "1.png", "data.on_duplicate=tie")


def test_the_same_image_in_two_groups(tmp_path: Path, error_of: ErrorOf) -> None:
    text = error_of(*FOLDER, with_a_copy(tmp_path / "images", "0.png,no,p0", "1.png,no,p9", *GOOD[2:]))
    names(text, "two groups", "p0, p9", "0.png", "1.png", "data.on_duplicate=tie")


def test_an_empty_label(tmp_path: Path, error_of: ErrorOf) -> None:
    names(error_of(*FOLDER, labelled(tmp_path / "images", *GOOD[:5], "5.png,,p2")), "labels.csv line 7", "empty label")


def test_a_missing_column(tmp_path: Path, error_of: ErrorOf) -> None:
    root = labelled(tmp_path / "images", *GOOD, header="image,class,patient")
    names(error_of(*FOLDER, root), "no column 'label'", "image, class, patient")


def test_a_class_in_fewer_groups_than_folds(tmp_path: Path, error_of: ErrorOf) -> None:
    rows = [f"{n}.png,{'yes' if n < 3 else 'no'},p{n}" for n in range(10)]
    text = error_of(*FOLDER, labelled(tmp_path / "images", *rows), "folds.k=5")
    names(text, "folds.k=5", "no in 7", "yes in 3", "groups", "smaller folds.k", "folds=stratified")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("data.image_size=8", ["data.image_size=8", "32 or more"]),
        ("data.patients=30", ["data.patients=30", "2 to 20"]),
        ("data.positive=presnt", ["data.positive=presnt", "absent, present", "Did you mean 'present'"]),
        ("data.on_duplicate=drop", ["data.on_duplicate=drop", "error, tie"]),
        ("data.augment.contrast=2", ["data.augment.contrast=2", "below 1"]),
        ("data.image_size=large", ["image_size", "large"]),
        ("data.difficulty=hard", ["difficulty", "hard"]),
    ],
)
def test_a_wrong_value_for_the_data(error_of: ErrorOf, override: str, parts: list[str]) -> None:
    names(error_of(*SMALL, override), *parts)


# --- the weights


class Malicious:
    """Pickled, it is a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (open, (str(self.path), "w"))


def test_code_in_a_weights_file_is_never_run(tmp_path: Path, error_of: ErrorOf) -> None:
    harmed, file = tmp_path / "harmed", tmp_path / "w.pth"
    torch.save({"conv1.weight": Malicious(harmed)}, file)
    torch.load(file, weights_only=False)["conv1.weight"].close()
    assert harmed.exists(), "the file would do harm where it is trusted"
    harmed.unlink()
    text = error_of(*SMALL, f"trunk.weights={file}")
    assert not harmed.exists()
    names(text, str(file), "not a plain state dict", "weights_only", "torch.save(model.state_dict(), path)")


def saved_weights(path: Path, *without: str, **changed: torch.Tensor) -> str:
    state = {key: value for key, value in models.resnet18(weights=None).state_dict().items() if key not in without}
    torch.save({**state, **{key.replace("__", "."): value for key, value in changed.items()}}, path)
    return f"trunk.weights={path}"


def test_weights_of_a_wrong_shape(tmp_path: Path, error_of: ErrorOf) -> None:
    override = saved_weights(tmp_path / "w.pth", conv1__weight=torch.zeros(64, 1, 7, 7))
    names(error_of(*SMALL, override), "w.pth", "resnet18", "conv1.weight (64, 1, 7, 7) instead of (64, 3, 7, 7)")


def test_weights_with_missing_keys(tmp_path: Path, error_of: ErrorOf) -> None:
    override = saved_weights(tmp_path / "w.pth", "conv1.weight", "bn1.bias")
    names(error_of(*SMALL, override), "w.pth", "resnet18", "2 missing", "conv1.weight", "bn1.bias")


def test_weights_that_are_not_there(tmp_path: Path, error_of: ErrorOf) -> None:
    names(error_of(*SMALL, f"trunk.weights={tmp_path}/none.pth"), f"{tmp_path}/none.pth", "is not there")


def test_weights_of_an_unknown_name(error_of: ErrorOf) -> None:
    names(error_of(*SMALL, "trunk.weights=IMAGENET"), "trunk.weights=IMAGENET", "IMAGENET1K_V1", "null", "path")


# --- keys and values


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=resnet", "model.lrr=1"], ["model.lrr", "Did you mean 'lr'"]),
        (["model.network.lrr=1"], ["model.network.lrr", "Did you mean 'lr'"]),
        (["folds.kk=3"], ["folds.kk", "repeats", "val"]),
        (["data.imagess=3"], ["data.imagess", "Did you mean 'images'"]),
        (["trainer.max_epoch=3"], ["trainer.max_epoch", "Did you mean 'max_epochs'"]),
        (["sed=1"], ["sed", "Did you mean 'seed'"]),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(error_of: ErrorOf, overrides: list[str], parts: list[str]) -> None:
    names(error_of(*overrides), *parts)


@pytest.mark.parametrize(
    ("override", "options"),
    [
        ("trunk=resnet19", ["resnet18", "resnet34", "resnet50"]),
        ("model=resnett", ["ensemble", "resnet", "resnet_svm"]),
        ("data=foldr", ["folder", "synthetic"]),
        ("folds=group", ["grouped", "repeated", "stratified"]),
        ("trainer=tpu", ["auto", "cpu", "gpu"]),
    ],
)
def test_an_unknown_option_is_named_with_the_known_ones(error_of: ErrorOf, override: str, options: list[str]) -> None:
    names(error_of(override), override.split("=")[1], *options)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=resnet_svm", "model.taps=[layer9]"], ["model.taps=layer9", "stem", "layer1", "layer2", "layer3", "layer4"]),
        (["model=resnet_svm", "model.taps=[]"], ["model.taps=[]", "at least one"]),
        (["model=resnet_svm", "model.taps=[layer1,layer1]"], ["model.taps", "each once"]),
        (["model=resnet_svm", "model.pooling=[median]"], ["model.pooling=median", "mean, max, std"]),
        (["model=resnet", "model.symmetries=3"], ["model.symmetries=3", "1, 4, 8"]),
        (["trunk=timm"], ["trunk.name is not set", "trunk.name=VALUE"]),
        (["trunk=timm", "trunk.name=convnext_ato"], ["trunk.name=convnext_ato", "convnext_atto"]),
        (
            ["trunk=timm", "trunk.name=vit_tiny_patch16_224", "trunk.weights=default", "model.network.freeze_until=blocks.3"],
            ["model.freeze_until=blocks.3", "no chain of stages", "null"],
        ),
        (["trunk.name=resnet19"], ["trunk.name=resnet19", "resnet18, resnet34"]),
        (["model.combiner=best"], ["model.combiner=best", "mean, logit_mean, weighted, stacking, greedy, rank, vote"]),
        (["model=resnet", "model.schedule=cosin"], ["model.schedule=cosin", "Did you mean 'cosine'"]),
        (["model=resnet", "model.class_weights=yes"], ["model.class_weights", "balanced, none"]),
        (["model=resnet", "model.lr=0"], ["model.lr=0", "above 0"]),
        (["model=resnet", "model.lr=fast"], ["lr", "fast"]),
        (["model=resnet", "model.dropout=1"], ["model.dropout=1", "below 1"]),
        (["model=resnet_svm", "model.features_from=nowhere"], ["features_from=nowhere", "finetuned, pretrained"]),
        (["model=resnet_svm", "model.svm.kernel=poly"], ["poly", "rbf", "linear"]),
        (["model=resnet_svm", "folds.val=0"], ["folds.val=0", "features_from=pretrained"]),
        (["~model.members.resnet"], ["model.members", "two or more"]),
        (["folds.k=1"], ["folds.k=1", "2 or more"]),
        (["folds.k=many"], ["k", "many"]),
        (["folds.val=0.9"], ["folds.val=0.9", "0 to 0.5"]),
        (["folds.repeats=0"], ["folds.repeats=0", "1 or more"]),
        (["folds.only=[7]"], ["folds.only=[7]", "0 to 4"]),
        (["trainer.precision=foo"], ["foo", "bf16-mixed"]),
        (["trainer.accelerator=abacus"], ["abacus", "cpu"]),
        (["++trainer.epochs=3"], ["Trainer", "epochs"]),
        (["seed=abc"], ["seed", "abc"]),
        (
            ["model=resnet", "model.callbacks.early_stopping.patience=soon"],
            ["EarlyStopping", "soon"],
        ),
        (["model=resnet", "model.callbacks.early_stopping.mode=up"], ["EarlyStopping", "up", "min"]),
        (["model=resnet", "+model.callbacks.early_stopping.patients=3"], ["EarlyStopping", "patients"]),
        (["model=resnet", "+model.callbacks.mine._target_=os.system"], ["os.system"]),
        (["data._target_=subprocess.call"], ["subprocess.call"]),
        (["model=resnet", "+model.trunk._target_=os.system"], ["trunk._target_ is not allowed"]),
        (["paths.runs=''"], ["paths.runs= is not allowed", "paths.runs=runs"]),
        (["paths.runs=null"], ["paths.runs=null", "paths.runs=runs"]),
        (["model.name=../x"], ["model.name=../x", "letters, digits"]),
        (["model.name=[/red]"], ["model.name=['/red']", "letters, digits"]),
        (["model.network.name=null"], ["model.name=null", "letters, digits"]),
        (["+callbacks.mine._target_=pytorch_lightning.callbacks.Nothing"], ["pytorch_lightning.callbacks.Nothing"]),
        (["model=resnet", "+model.trainer.epochs=3"], ["epochs"]),
    ],
    ids=lambda value: " ".join(value) if "=" in " ".join(value) or "~" in value[0] else "",
)
def test_a_wrong_value_is_named_with_the_allowed_ones(error_of: ErrorOf, overrides: list[str], parts: list[str]) -> None:
    names(error_of(*SMALL, *overrides), *parts)


@pytest.mark.parametrize("overrides", [["model.lr"], ["model.lr=[1"]])
def test_what_is_no_override_is_named(error_of: ErrorOf, overrides: list[str]) -> None:
    names(error_of(*overrides), overrides[0])


# --- real commands


def command(cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, str(TRAIN), *overrides], cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env={**environment, "WANDB_MODE": "offline"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "culprit"),
    [(["model.network.lrr=1"], "model.network.lrr"), ([*SMALL, "model=resnet_svm", "model.taps=[layer9]"], "layer9")],
    ids=["unknown key", "wrong value"],
)
def test_a_command_ends_with_one_line_on_stderr(tmp_path: Path, overrides: list[str], culprit: str) -> None:
    done = command(tmp_path, *overrides)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert done.stdout == ""
    assert lines[-1].startswith("error: ")
    assert culprit in lines[-1]
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_groups_and_their_options(tmp_path: Path) -> None:
    done = command(tmp_path, "--help")
    assert done.returncode == 0
    conf = TRAIN.parent / "conf"
    for group in (path for path in conf.iterdir() if path.is_dir()):
        options = sorted(path.stem for path in group.glob("*.yaml"))
        assert not options or re.search(rf"^{group.name}: {', '.join(options)}$", done.stdout, re.MULTILINE)
    names(done.stdout, "trunk:", "data:", "folds:", "model:", "trainer:")


# --- what stands at the top level


def test_an_objective_that_does_not_exist(error_of: ErrorOf) -> None:
    names(error_of(*SMALL, "objective=val/acc"), "objective=val/acc is not allowed", "val/accuracy", "test/auroc", "seconds")


@pytest.mark.parametrize("key", ["ckpt_path", "nonsense"])
def test_a_key_that_nothing_reads(error_of: ErrorOf, key: str) -> None:
    names(error_of(*SMALL, f"+{key}=1"), f"there is no setting {key}", "allowed: data, folds")


def test_a_section_that_a_job_needs(error_of: ErrorOf) -> None:
    names(error_of(*SMALL, "model=null"), "leaves no model", "leave out ~model or model=null")


def test_null_stands_for_no_option_as_in_the_config(error_of: ErrorOf) -> None:
    with pytest.raises(AssertionError, match="training began"):
        error_of(*SMALL, "experiment=null", "sweep/space=null")
