from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiment.core.build import plain
from experiment.run.naming import settings_of
from experiment.run.recipe import plan
from experiment.terminal.cli import CONF


def names(*command: str) -> dict[str, str]:
    """Settings in the names of a job's models, by title."""
    with initialize_config_dir(str(CONF)):
        config = plain(compose("train", [*command, "++trunk.weights=null"]))
    recipe = plan(config["model"], config["trainer"], config["callbacks"], has_val=True)
    return {one.title: settings_of(one, config["model"], command) for one in recipe.with_inputs()}


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ([], ""),
        (["trunk=resnet34", "model.svm.C=1"], "C=1 trunk=resnet34"),
        (["seed=3", "model.taps=[layer2,layer3]", "folds.k=3"], "taps=[layer2,layer3] seed=3 k=3"),
        (["model.symmetries=1", "model.network.symmetries=4"], "model.symmetries=1 model.network.symmetries=4"),
    ],
)
def test_a_name_has_the_settings_model_first_and_whole_keys_only_where_needed(command: list[str], named: str) -> None:
    assert names("model=resnet_svm", *command)["resnet_svm"] == named


def test_what_decides_no_number_is_not_named(tmp_path: Path) -> None:
    command = [
        "model=resnet", "model.name=mine", "data=folder", f"data.root={tmp_path}", "logger=csv", "logger.folds=true",
        "paths.runs=x", "trainer=cpu", "trainer.devices=1", "folds.only=[0]", "folds.parallel=1", "objective=seconds",
        "sweep.name=grid",
    ]  # fmt: skip
    assert names(*command) == {"mine": ""}


def test_settings_count_for_the_models_that_they_configure_and_for_those_built_on_them() -> None:
    assert names("model.network.lr=0.001", "model.members.resnet_svm.svm.C=1", "model.combiner=mean", "seed=1") == {
        "resnet": "lr=0.001 seed=1",
        "resnet_svm": "lr=0.001 C=1 seed=1",
        "ensemble": "lr=0.001 C=1 combiner=mean seed=1",
    }


def test_a_member_that_is_added_is_named() -> None:
    got = names("+model@model.members.frozen=resnet_svm", "model.members.frozen.features_from=pretrained")
    assert got["ensemble"] == "frozen=resnet_svm features_from=pretrained"
    assert got["resnet_svm"] == ""
