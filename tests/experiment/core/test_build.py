import pandas as pd
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from experiment.core.build import build, class_of, plain, relocated
from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme, Splits


def test_a_config_becomes_the_object_it_names():
    assert build({"_target_": "experiment.core.folds.FoldScheme", "k": 3, "val": 0.2}) == FoldScheme(k=3, val=0.2)


def test_lists_arrive_as_plain_lists():
    config = OmegaConf.create({"_target_": "experiment.core.folds.FoldScheme", "only": [0, 1]})
    assert type(build(config).only) is list


def test_further_arguments_are_passed_as_they_are():
    table = pd.DataFrame({"a": [1]})
    built = build({"_target_": "experiment.core.folds.Splits"}, table=table)
    assert isinstance(built, Splits)
    assert built.table is table


def test_what_the_class_says_of_a_bad_value_is_told_in_one_line():
    with pytest.raises(UserError, match=r"folds\.k=1 is not allowed") as caught:
        build({"_target_": "experiment.core.folds.FoldScheme", "k": 1})
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_is_named():
    with pytest.raises(UserError, match=r"FoldScheme.*'folds_count'") as caught:
        build({"_target_": "experiment.core.folds.FoldScheme", "folds_count": 5})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("accelerator", "warp"), ("gradient_clip_algorithm", "shears")])
def test_a_bad_trainer_option_is_told_in_one_line(key, value):
    with pytest.raises(UserError, match=rf"pytorch_lightning\.Trainer: .*{value}") as caught:
        build({"_target_": "pytorch_lightning.Trainer", key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["os.getcwd", "experiment.store.runs.os.getcwd", "experiment.store.json.dumps", "builtins.dict"]
)
def test_code_outside_the_trusted_packages_is_not_run(target):
    with pytest.raises(UserError, match=r"is not allowed|does not exist"):
        build({"_target_": target})


def test_a_class_that_does_not_exist_is_a_user_error():
    with pytest.raises(UserError, match=r"experiment\.run\.folds\.NoSuchScheme"):
        build({"_target_": "experiment.core.folds.NoSuchScheme"})


def test_the_class_of_a_config_is_found():
    assert class_of({"_target_": "experiment.core.folds.FoldScheme", "k": 3}) is FoldScheme


def test_a_class_outside_the_trusted_packages_is_not_handed_out(tmp_path, monkeypatch):
    (tmp_path / "untrusted_by_test_build.py").write_text("class Anything: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception, match=r"whitelist|trusted|not allowed"):
        class_of({"_target_": "untrusted_by_test_build.Anything"})


def test_asking_for_a_class_that_does_not_exist_is_a_user_error():
    with pytest.raises(UserError, match="NoSuchScheme"):
        class_of({"_target_": "experiment.core.folds.NoSuchScheme"})


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
    assert relocated(stored) == {"_target_": "lightning_modules.resnet.ResNet", "lr": 1}
    assert relocated(relocated(stored)) == relocated(stored)


@pytest.mark.parametrize(
    "target", ["lightning_modules.resnet.NoSuchNet", "pytorch_lightning.nowhere.Trainer", "os.path.Thing"]
)
def test_a_class_that_is_nowhere_is_not_relocated(target):
    with pytest.raises(UserError, match=r"does not exist|not allowed"):
        relocated({"_target_": target})


def test_interpolations_are_resolved_to_plain_values() -> None:
    values = plain(OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": [1, "${a}"]}}))
    assert values == {"a": 1, "b": {"c": 1, "d": [1, 1]}}
    assert type(values["b"]) is dict
    assert type(values["b"]["d"]) is list


def test_a_value_that_must_be_given_is_missed() -> None:
    with pytest.raises(MissingMandatoryValue):
        plain(OmegaConf.create({"root": "???"}))
