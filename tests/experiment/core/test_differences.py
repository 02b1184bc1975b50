from typing import Any

from experiment.core.differences import differences, in_words, named


def config(model: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {"seed": 0, "trainer": {"max_epochs": 9}, "paths": {"runs": "runs"}, "model": model, **sections}


def resnet(**settings: Any) -> dict[str, Any]:
    return {
        "_target_": "lightning_modules.resnet.ResNet", "name": "resnet", "trunk": {"name": "resnet18", "weights": None},
        "lr": 5e-4, "callbacks": {"fit": {"_target_": "callbacks.X", "cache": "here", "patience": 10}}, **settings,
    }  # fmt: skip


def test_settings_that_differ_are_named_as_they_are_typed() -> None:
    one = config(resnet(lr=4e-4, pooling=["mean"], freeze_until=None))
    other = config(resnet(lr=0.002, pooling=["mean", "max"], freeze_until="layer2"), seed=1)
    assert differences([one, other]) == [
        {"lr": "4e-4", "pooling": "[mean]", "freeze_until": "null", "seed": "0"},
        {"lr": "0.002", "pooling": "[mean,max]", "freeze_until": "layer2", "seed": "1"},
    ]
    assert in_words("resnet", differences([one, other])[0]) == "resnet lr=4e-4 pooling=[mean] freeze_until=null seed=0"


def test_settings_that_decide_no_numbers_are_no_difference() -> None:
    one = config(resnet(), folds={"k": 5, "only": None, "parallel": "auto"})
    other = config(
        resnet(name="mine", callbacks={"fit": {"_target_": "callbacks.X", "cache": "there", "patience": 10}}),
        folds={"k": 5, "only": [1], "parallel": 1}, paths={"runs": "elsewhere"}, trainer={"max_epochs": 9, "devices": 2},
    )  # fmt: skip
    assert differences([one, other]) == [{}, {}]


def test_setting_of_a_network_that_members_share_is_named_once() -> None:
    def ensemble(lr: float) -> dict[str, Any]:
        network = resnet(lr=lr)
        members = {"resnet": network, "svm": {"_target_": "lightning_modules.resnet_svm.ResNetSVM", "network": network}}
        return {"_target_": "E", "network": network, "members": members}

    assert differences([config(ensemble(1e-3)), config(ensemble(1e-5))]) == [{"lr": "0.001"}, {"lr": "1e-5"}]


def test_settings_of_one_name_go_by_their_whole_key() -> None:
    one = config({"_target_": "E", "a": resnet(lr=1.0), "b": resnet(lr=1.0)})
    other = config({"_target_": "E", "a": resnet(lr=2.0), "b": resnet(lr=3.0)})
    assert differences([one, other])[1] == {"model.a.lr": "2.0", "model.b.lr": "3.0"}


def test_other_class_is_named_without_its_settings() -> None:
    svm = {"_target_": "lightning_modules.resnet_svm.ResNetSVM", "name": "svm", "C": 1}
    assert differences([config(resnet()), config(svm)]) == [{"model": "ResNet"}, {"model": "ResNetSVM"}]
    with_more = resnet(callbacks={**resnet()["callbacks"], "swa": {"_target_": "callbacks.SWA", "swa_lrs": 0.1}})
    assert differences([config(resnet()), config(with_more)]) == [{}, {"swa": "SWA"}]


def test_only_models_that_share_a_title_get_a_longer_name() -> None:
    configs = [config(resnet(lr=4e-4)), config(resnet(lr=2e-4)), config({"_target_": "lightning_modules.S", "C": 1})]
    assert named(["resnet", "resnet", "svm"], configs) == ["resnet lr=4e-4", "resnet lr=2e-4", "svm"]
    deeper = resnet(trunk={"name": "resnet34", "weights": None})
    assert named(["resnet", "resnet"], [configs[0], config(deeper | {"lr": 4e-4})]) == [
        "resnet trunk=resnet18", "resnet trunk=resnet34"
    ]  # fmt: skip
