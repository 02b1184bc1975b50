from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from experiment.core.build import build, class_of, plain, relocated
from experiment.core.contracts import FoldData, FoldModel
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme, Splits


def test_a_config_becomes_the_object_it_names():
    assert build({"_target_": "experiment.core.folds.FoldScheme", "k": 3, "val": 0.2}, FoldScheme) == FoldScheme(k=3, val=0.2)


def test_an_object_has_its_own_copy_of_the_settings():
    config = {"_target_": "experiment.core.folds.FoldScheme", "only": [0, 1]}
    built = build(config, FoldScheme)
    assert built.only == [0, 1]
    config["only"].append(2)
    assert built.only == [0, 1]


def test_further_arguments_are_passed_as_they_are():
    table = pd.DataFrame({"a": [1]})
    built = build({"_target_": "experiment.core.folds.Splits"}, Splits, table=table)
    assert isinstance(built, Splits)
    assert built.table is table


def test_what_the_class_says_of_a_bad_value_is_told_in_one_line():
    with pytest.raises(UserError, match=r"folds\.k=1 is not allowed") as caught:
        build({"_target_": "experiment.core.folds.FoldScheme", "k": 1}, FoldScheme)
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_is_named():
    with pytest.raises(UserError, match=r"FoldScheme.*'folds_count'") as caught:
        build({"_target_": "experiment.core.folds.FoldScheme", "folds_count": 5}, FoldScheme)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("accelerator", "warp"), ("gradient_clip_algorithm", "shears")])
def test_a_bad_trainer_option_is_told_in_one_line(key, value):
    with pytest.raises(UserError, match=rf"pytorch_lightning\.Trainer: .*{value}") as caught:
        build({"_target_": "pytorch_lightning.Trainer", key: value}, Trainer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["os.getcwd", "experiment.store.runs.os.getcwd", "experiment.store.json.dumps", "builtins.dict"]
)
def test_code_outside_the_trusted_packages_is_not_run(target):
    with pytest.raises(UserError, match=r"is not allowed|does not exist"):
        build({"_target_": target}, object)


def test_a_class_that_does_not_exist_is_a_user_error():
    with pytest.raises(UserError, match=r"experiment\.core\.folds\.NoSuchScheme"):
        build({"_target_": "experiment.core.folds.NoSuchScheme"}, FoldScheme)


def test_the_class_of_a_config_is_found():
    assert class_of({"_target_": "experiment.core.folds.FoldScheme", "k": 3}, FoldScheme) is FoldScheme


def test_a_class_outside_the_trusted_packages_is_not_handed_out(tmp_path, monkeypatch):
    (tmp_path / "untrusted_by_test_build.py").write_text("class Anything: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception, match=r"whitelist|trusted|not allowed"):
        class_of({"_target_": "untrusted_by_test_build.Anything"}, object)


def test_asking_for_a_class_that_does_not_exist_is_a_user_error():
    with pytest.raises(UserError, match="NoSuchScheme"):
        class_of({"_target_": "experiment.core.folds.NoSuchScheme"}, FoldScheme)


def test_plain_values_are_resolved():
    config = OmegaConf.create({"a": {"b": [1, "${c}"]}, "c": 2})
    got = plain(config)
    assert got == {"a": {"b": [1, 2]}, "c": 2}
    assert type(got["a"]) is dict
    assert type(got["a"]["b"]) is list


def test_a_value_that_was_not_given_is_refused():
    with pytest.raises(MissingMandatoryValue, match="root"):
        plain(OmegaConf.create({"data": {"root": "???"}}))


def test_a_stored_config_follows_its_class_to_another_module():
    stored = {"_target_": "lightning_modules.where_it_was_before.ResNet", "lr": 1}
    assert relocated(stored, FoldModel) == {"_target_": "lightning_modules.resnet.ResNet", "lr": 1}
    assert relocated(relocated(stored, FoldModel), FoldModel) == relocated(stored, FoldModel)


@pytest.mark.parametrize(
    "target", ["lightning_modules.resnet.NoSuchNet", "pytorch_lightning.nowhere.Trainer", "os.path.Thing"]
)
def test_a_class_that_is_nowhere_is_not_relocated(target):
    with pytest.raises(UserError, match=r"does not exist|not allowed"):
        relocated({"_target_": target}, FoldModel)


def test_interpolations_are_resolved_to_plain_values() -> None:
    values = plain(OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": [1, "${a}"]}}))
    assert values == {"a": 1, "b": {"c": 1, "d": [1, 1]}}
    assert type(values["b"]) is dict
    assert type(values["b"]["d"]) is list


def test_a_value_that_must_be_given_is_missed() -> None:
    with pytest.raises(MissingMandatoryValue):
        plain(OmegaConf.create({"root": "???"}))


UNSAFE = "pytorch_lightning.LightningModule.load_from_checkpoint"


@given(
    st.recursive(
        st.just({"_target_": UNSAFE, "checkpoint_path": "evil.ckpt", "weights_only": False}),
        lambda part: st.one_of(
            st.lists(part, min_size=1, max_size=2),
            st.dictionaries(st.sampled_from(["a", "_args_", "_partial_"]), part, min_size=1, max_size=2),
            part.map(lambda inner: {"_target_": "pytorch_lightning.Trainer", "callbacks": inner}),
        ),
        max_leaves=4,
    ),
    st.sampled_from(["labels", "root", "augment", "_args_", "_recursive_"]),
)
def test_nothing_inside_settings_is_built(value: Any, key: str) -> None:
    config = {"_target_": "datamodules.folder.FolderDataModule", "root": "", "image_size": 32, key: value}
    with pytest.raises(UserError, match=rf"FolderDataModule: {key}\S*_target_ is not allowed") as caught:
        build(config, FoldData)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", [UNSAFE, "pytorch_lightning.LightningModule", "pytorch_lightning.utilities.CombinedLoader"])
def test_of_lightning_only_trainer_callbacks_and_loggers_are_built(target):
    with pytest.raises(UserError, match=r"_target_=pytorch_lightning.* is not allowed"):
        class_of({"_target_": target}, object)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("pytorch_lightning.Trainer", Trainer),
        ("pytorch_lightning.callbacks.LearningRateMonitor", Callback),
        ("pytorch_lightning.callbacks.early_stopping.EarlyStopping", Callback),
        ("pytorch_lightning.loggers.TensorBoardLogger", Logger),
    ],
)
def test_classes_of_lightning_that_a_config_may_name(target, expected):
    assert issubclass(class_of({"_target_": target}, expected), expected)


@pytest.mark.parametrize("target", ["experiment.store.lease.Lease", "pytorch_lightning.Trainer"])
def test_another_kind_of_class_is_refused_before_it_is_built(target):
    with pytest.raises(UserError, match=rf"_target_={target} .*experiment\.core\.contracts\.FoldData"):
        build({"_target_": target, "path": "x", "token": "t", "beat": 1.0}, FoldData)


@pytest.mark.parametrize("config", [{}, {"_target_": None}, {"_target_": ["os.system"]}])
def test_a_config_without_a_class_is_a_user_error(config):
    with pytest.raises(UserError, match=r"_target_=.* is not allowed; give the path of a class"):
        build(config, FoldData)
    with pytest.raises(UserError, match=r"_target_=.* is not allowed; give the path of a class"):
        relocated(config, FoldData)
