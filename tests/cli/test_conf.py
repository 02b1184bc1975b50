"""Every file in conf/ says what it is for and composes, and so does every command that the README shows."""

import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tiny import TRAINER
from torchvision.models import resnet18

from datamodules.augment import Augment
from datamodules.synthetic import SyntheticDataModule
from experiment.core.build import class_of, plain
from experiment.core.folds import Splits
from experiment.run.recipe import ENGINE_KEYS, plan
from experiment.run.training import fit, make_callbacks
from lightning_modules.resnet import ResNet
from lightning_modules.svm_settings import SVMSettings
from lightning_modules.trunk import Trunk

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
OPTIONS = [path for path in FILES if path.parent != CONF]
PROGRAMS = [path.stem for path in FILES if path.parent == CONF]
DATA = ["data.root=DIR"]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF)):
        return compose("train", list(overrides))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_each_file_opens_with_what_it_is_for(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 20


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_config_belongs_to_a_program_and_composes(program: str) -> None:
    assert (ROOT / f"{program}.py").is_file()
    with initialize_config_dir(str(CONF)):
        assert compose(program, ["run=DIR"] if program in ("report", "explain") else []) is not None


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: str(path.relative_to(CONF)))
def test_each_option_composes(path: Path) -> None:
    group, option = path.parent.relative_to(CONF).as_posix(), path.stem
    assert composed(f"{group}={option}") is not None


@pytest.mark.parametrize("path", sorted((CONF / "debug").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_debug_job_is_one_fold_in_one_process_apart_from_real_runs(path: Path) -> None:
    config = composed(f"debug={path.stem}")
    assert (config.folds.only, config.folds.parallel, config.paths.runs) == ([0], 1, "runs/debug")
    assert config.paths.cache == "runs/debug/cache"


def commands() -> list[str]:
    texts = [(ROOT / "README.md").read_text(), *(path.read_text() for path in CONF.rglob("*.yaml"))]
    found = [match.split("   ")[0].strip() for text in texts for match in re.findall(r"python train\.py(.*)", text)]
    return sorted({re.split(r"`|  #", command)[0].strip() for command in found} - {""})


@pytest.mark.parametrize("command", commands())
def test_each_command_in_readme_and_conf_composes_to_a_plan(command: str, tmp_path: Path) -> None:
    if "--help" in command or command.startswith("-m "):
        pytest.skip("not one job")
    if ".run=" in command:
        pytest.skip("needs a finished run")
    overrides = shlex.split(command)
    wants_root = any("folder" in o or "paper" in o for o in overrides) and not any("data.root" in o for o in overrides)
    # weights as in the default job: nothing may be downloaded to check a command; trainer=gpu needs a GPU only when it runs
    weights = "null"
    if "fast" in command or "freeze_until" in command:  # frozen layers need weights that are not random
        weights = str(tmp_path / "weights.pth")
        torch.save(resnet18().state_dict(), weights)
    extra = [f"++trunk.weights={weights}", *(DATA if wants_root else [])]
    config = plain(composed(*overrides, *extra))
    if config["trainer"]["accelerator"] != "gpu":
        plan(config["model"], config["trainer"], config["callbacks"], has_val=config["folds"]["val"] > 0)


def test_both_members_of_the_default_ensemble_read_one_network() -> None:
    model = plain(composed("model=ensemble", "model.network.lr=0.007"))["model"]
    assert model["members"]["resnet"] == model["members"]["resnet_svm"]["network"] == model["network"]
    assert model["network"]["lr"] == 0.007


def test_own_images_start_from_imagenet_and_built_in_ones_download_nothing() -> None:
    assert composed().trunk.weights is None
    assert composed("data=folder", *DATA).trunk.weights == "default"


def test_the_callback_of_watch_yaml_runs_as_its_header_says(
    tiny_data: SyntheticDataModule, tiny_splits: Splits, tmp_path: Path
) -> None:
    command = re.findall(r"python train\.py (.*)", (CONF / "callbacks" / "watch.yaml").read_text())[0]
    callbacks = plain(composed(*shlex.split(command)))["callbacks"]
    assert set(callbacks) == {"learning_rate", "device_stats"}
    tiny_data.set_split(next(iter(tiny_splits)))
    short = {**TRAINER, "max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    fit(ResNet(["absent", "present"]), tiny_data, short, make_callbacks(callbacks, has_val=True), [], tmp_path)
    assert (tmp_path / "model.ckpt").is_file()


def differing(config: Mapping[str, Any], kind: Callable[..., Any], parts: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """The values of a config that are not the constructor's defaults; `parts` are built from nested sections."""
    defaults: dict[str, Any] = {}
    for one in reversed(inspect.getmro(kind)) if inspect.isclass(kind) else [kind]:
        if "__init__" in vars(one) and one is not object:
            defaults |= {name: p.default for name, p in inspect.signature(one).parameters.items()}
    found = {}
    for key, value in config.items():
        if key in parts:
            found |= {f"{key}.{name}": v for name, v in differing(value, parts[key], {}).items()}
        elif value != (list(default) if isinstance(default := defaults[key], tuple) else default):
            found[key] = value
    return found


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_constructors_of_models_have_the_defaults_of_their_yaml(model: str) -> None:
    config = plain(composed(f"model={model}"))["model"]
    kind = class_of(config, object)
    settings = {key: value for key, value in config.items() if key not in (*ENGINE_KEYS, *kind.built_on, "_target_")}
    assert settings, "or nothing is compared"
    assert differing(settings, kind, {"trunk": Trunk, "svm": SVMSettings}) == {}


@pytest.mark.parametrize("data", sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
def test_constructors_of_data_modules_have_the_defaults_of_their_yaml(data: str) -> None:
    config = plain(composed(f"data={data}", "++data.root=DIR"))["data"]
    kind = class_of(config, object)
    # the folder is the user's, the cache is next to the runs
    settings = {key: value for key, value in config.items() if key not in ("_target_", "root", "cache")}
    assert differing(settings, kind, {"augment": Augment}) == {}
