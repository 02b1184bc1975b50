import hashlib
import inspect

import pytest
import pytorch_lightning

from experiment.core.identity import NOT_IDENTITY, OBSERVERS, decisive, digest, file_digest


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("data", "root"),
        ("data", "labels"),
        ("data", "num_workers"),
        ("data", "cache"),
        ("data", "cache_gb"),
        ("callback", "cache"),
        ("callback", "cache_gb"),
        ("callback", "experiment_seed"),
        ("trainer", "accelerator"),
        ("trainer", "devices"),
        ("trainer", "default_root_dir"),
        ("trainer", "enable_progress_bar"),
        ("model", "name"),
    ],
)
def test_where_and_how_fast_is_no_identity(section, key):
    assert decisive(section, {key: "anything", "other": 1}) == {"other": 1}


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("data", "image_size"),
        ("data", "batch_size"),
        ("trainer", "precision"),
        ("trainer", "max_epochs"),
        ("trainer", "gradient_clip_val"),
        ("trainer", "deterministic"),
        ("trainer", "accumulate_grad_batches"),
        ("model", "lr"),
        ("model", "root"),
    ],
)
def test_what_decides_the_numbers_is_identity(section, key):
    assert decisive(section, {key: 1}) == {key: 1}


@pytest.mark.parametrize("section", ["data", "trainer", "callback", "model"])
def test_a_class_counts_by_its_name_and_not_by_its_module(section):
    here, there, other = (
        {"_target_": path, "lr": 1} for path in ("models.old.Net", "models.new.place.Net", "models.old.Net2")
    )
    assert decisive(section, here) == decisive(section, there) == {"kind": "Net", "lr": 1}
    assert decisive(section, here) != decisive(section, other)


def test_every_option_of_lightnings_trainer_counts_unless_there_is_a_reason():
    options = set(inspect.signature(pytorch_lightning.Trainer).parameters)
    assert set(NOT_IDENTITY["trainer"]) <= options
    counted = set(decisive("trainer", dict.fromkeys(options)))
    assert counted == options - set(NOT_IDENTITY["trainer"])
    assert {"max_time", "overfit_batches", "limit_train_batches", "precision", "plugins", "sync_batchnorm"} <= counted
    assert all(reason for section in NOT_IDENTITY.values() for reason in section.values())


def test_observers_are_callbacks_of_lightning_that_end_and_change_nothing():
    exported = {name: getattr(pytorch_lightning.callbacks, name) for name in pytorch_lightning.callbacks.__all__}
    assert set(OBSERVERS) <= set(exported)
    assert not OBSERVERS & {"EarlyStopping", "Timer", "StochasticWeightAveraging", "LambdaCallback", "ModelCheckpoint"}


def test_a_section_without_exceptions_counts_whole():
    config = {"name": 1, "root": 2, "devices": 3}
    assert decisive("folds", config) == config


def test_a_digest_is_blake2b_of_compact_sorted_json():
    text = b'{"a":[1,null],"b":"\\u00fc"}'
    assert digest({"b": "ü", "a": [1, None]}) == hashlib.blake2b(text, digest_size=16).hexdigest()


def test_key_order_does_not_change_a_digest():
    assert digest({"a": {"x": 1, "y": 2}, "b": 3}) == digest({"b": 3, "a": {"y": 2, "x": 1}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lr": 0.001}, {"lr": 0.002}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": True}, {"a": 1}),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_a_change_of_value_changes_the_digest(one, other):
    assert digest(one) != digest(other)


def test_a_value_that_is_not_plain_has_no_digest():
    with pytest.raises(TypeError):
        digest({"a": object()})


def test_a_file_digest_follows_the_content_alone(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    (tmp_path / "b").write_bytes(b"weights")
    (tmp_path / "c").write_bytes(b"weights!")
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")
    assert file_digest(tmp_path / "a") == hashlib.blake2b(b"weights", digest_size=16).hexdigest()
