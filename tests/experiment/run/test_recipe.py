from pathlib import Path

import pytest
import torch
from tiny import READING, RESNET, SVM, TRUNK
from torchvision.models import resnet18

from experiment.core.errors import UserError
from experiment.core.folds import FoldScheme
from experiment.core.identity import digest
from experiment.run.recipe import Recipe, check, plan

TRAINER = {
    "_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 1, "precision": "32-true", "max_epochs": 3,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
NETWORK = {"_target_": "lightning_modules.resnet.ResNet", "name": "resnet", "callbacks": {}, **RESNET}
ON_FEATURES = {
    "_target_": "lightning_modules.resnet_svm.ResNetSVM", "name": "resnet_svm", "trunk": TRUNK, **READING, "svm": SVM,
    "features_from": "finetuned", "network": NETWORK, "callbacks": {}, "trainer": {"max_epochs": 0},
}  # fmt: skip
ENSEMBLE = {
    "_target_": "lightning_modules.ensemble.EnsembleEvaluator", "name": "ensemble", "combiner": "mean",
    "class_weights": "none", "calibration": "none", "network": NETWORK,
    "members": {"resnet": NETWORK, "on_features": ON_FEATURES},
}  # fmt: skip


def planned(model: dict[str, object], **trainer: object) -> Recipe:
    return plan(model, {**TRAINER, **trainer}, {}, has_val=True)


def checked(model: dict[str, object], **trainer: object) -> None:
    config = {"trainer": {**TRAINER, **trainer}, "callbacks": {}}
    check(planned(model, **trainer), config, FoldScheme())


def identity(model: dict[str, object], **trainer: object) -> str:
    return digest(planned(model, **trainer).record)


def test_a_network_that_two_members_share_is_planned_once() -> None:
    assert [recipe.title for recipe in planned(ENSEMBLE).with_inputs()] == ["resnet", "resnet_svm", "ensemble"]


def test_the_svm_finds_the_network_of_the_ensemble_and_of_a_run_of_its_own() -> None:
    alone = identity(NETWORK)
    assert digest(planned(ON_FEATURES).inputs["resnet"].record) == alone
    assert digest(planned(ENSEMBLE).inputs["resnet"].record) == alone


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"class_weights": "none"}, {"symmetries": 4}])
def test_what_decides_the_numbers_changes_the_identity_of_a_model_and_of_all_built_on_it(change: dict[str, object]) -> None:
    changed = {**NETWORK, **change}
    assert identity(changed) != identity(NETWORK)
    assert identity({**ON_FEATURES, "network": changed}) != identity(ON_FEATURES)
    assert identity({**ENSEMBLE, "members": {"resnet": changed, "on_features": ON_FEATURES}}) != identity(ENSEMBLE)


@pytest.mark.parametrize(
    ("callback", "counts"),
    [("Timer", True), ("EarlyStopping", True), ("LearningRateMonitor", False), ("RichProgressBar", False)],
)
def test_a_callback_of_the_job_counts_unless_it_only_looks_on(callback: str, counts: bool) -> None:
    watchers = {"own": {"_target_": f"pytorch_lightning.callbacks.{callback}"}}
    watched = plan(NETWORK, TRAINER, watchers, has_val=True)
    assert (digest(watched.record) != identity(NETWORK)) == counts
    fixed = {**NETWORK, "trainer": {"max_epochs": 0}}  # nothing is trained that it could change
    assert plan(fixed, TRAINER, watchers, has_val=True).record == planned(fixed).record


def test_a_limit_of_time_is_part_of_the_identity() -> None:
    assert identity(NETWORK, max_time="00:00:00:02") != identity(NETWORK)


@pytest.mark.parametrize("change", [{"accelerator": "auto"}, {"enable_progress_bar": True}, {"devices": "auto"}])
def test_hardware_and_display_do_not_change_it(change: dict[str, object]) -> None:
    assert identity(NETWORK, **change) == identity(NETWORK)


def test_epochs_change_a_network_but_not_an_svm_on_pretrained_features() -> None:
    pretrained = {**ON_FEATURES, "features_from": "pretrained"}
    assert identity(NETWORK, max_epochs=4) != identity(NETWORK)
    assert identity(ON_FEATURES, max_epochs=4) != identity(ON_FEATURES)
    assert identity(pretrained, max_epochs=4) == identity(pretrained)
    assert identity(pretrained, precision="bf16-mixed") != identity(pretrained)
    assert identity({**pretrained, "network": {**NETWORK, "lr": 1e-4}}) == identity(pretrained)


def test_a_new_combiner_leaves_the_members_as_they_are() -> None:
    before, after = planned(ENSEMBLE), planned({**ENSEMBLE, "combiner": "vote"})
    assert digest(before.record) != digest(after.record)
    assert [digest(r.record) for r in before.inputs.values()] == [digest(r.record) for r in after.inputs.values()]


@pytest.mark.parametrize("combiner", ["weighted", "stacking"])
def test_a_model_that_learns_from_val_is_refused_where_there_is_none(combiner: str) -> None:
    pretrained = {**ON_FEATURES, "features_from": "pretrained"}
    members = {"resnet": NETWORK, "on_features": pretrained}
    with pytest.raises(UserError, match=f"folds.val=0 leaves no val rows, but combiner={combiner}"):
        plan({**ENSEMBLE, "combiner": combiner, "members": members}, TRAINER, {}, has_val=False)
    plan({**ENSEMBLE, "members": members}, TRAINER, {}, has_val=False)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({**NETWORK, "lrr": 1}, "unexpected keyword argument 'lrr'"),
        ({**NETWORK, "schedule": "step"}, "one_cycle"),
        ({**NETWORK, "trainer": {"max_epoch": 1}}, "Did you mean 'max_epochs'"),
        ({**NETWORK, "_target_": "datamodules.synthetic.SyntheticDataModule"}, r"name a class of experiment\.core"),
    ],
)
def test_wrong_settings_are_found_before_any_work(model: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(model)


def test_a_wrong_trainer_option_is_found_before_any_work() -> None:
    with pytest.raises(UserError, match="precision"):
        checked(NETWORK, precision="float7")


def test_each_trainer_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr("experiment.run.recipe.check_devices", lambda trainer: built.append(trainer["max_epochs"]))
    checked(ENSEMBLE)
    assert sorted(built) == [0, 3]


@pytest.mark.parametrize("change", [{"taps": ["layer2"]}, {"pooling": ["std"]}, {"symmetries": 4}, {"svm": {**SVM, "C": 3}}])
def test_how_an_svm_reads_its_network_leaves_the_network_as_it_is(change: dict[str, object]) -> None:
    before, after = planned(ON_FEATURES), planned({**ON_FEATURES, **change})
    assert digest(before.record) != digest(after.record)
    assert digest(before.inputs["resnet"].record) == digest(after.inputs["resnet"].record)


def test_weights_count_by_their_content_not_by_their_place(tmp_path: Path) -> None:
    state = resnet18(weights=None).state_dict()
    files = [tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"]
    torch.save(state, files[0])
    files[1].write_bytes(files[0].read_bytes())
    torch.save({**state, "conv1.weight": state["conv1.weight"] + 1}, files[2])
    one, same, other = (identity({**NETWORK, "trunk": {**TRUNK, "weights": str(file)}}) for file in files)
    assert one == same != other
    assert one != identity(NETWORK)


def test_members_are_called_by_their_names_unless_several_share_one() -> None:
    named = {**NETWORK, "name": "convnext_atto"}
    members = {"resnet": named, "a": ON_FEATURES, "b": {**ON_FEATURES, "taps": ["layer2"]}}
    titles = [recipe.title for recipe in planned({**ENSEMBLE, "members": members}).inputs.values()]
    assert titles == ["convnext_atto", "a", "b"]
