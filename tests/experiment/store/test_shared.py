import hashlib
from pathlib import Path

import torch

from experiment.store.shared import FOLDER, load_shared, store_shared, tensor_digest


def test_it_is_the_digest_of_names_shapes_types_and_bytes() -> None:
    value = torch.arange(6, dtype=torch.float32).view(2, 3)
    expected = hashlib.blake2b(b"a(2, 3)torch.float32" + value.numpy().tobytes(), digest_size=16).hexdigest()
    assert tensor_digest({"a": value}) == expected
    assert tensor_digest({"a": value.clone()}) == expected


def test_another_name_shape_type_or_value_is_another_state() -> None:
    one = torch.zeros(4)
    states = [{"a": one}, {"b": one}, {"a": one.view(2, 2)}, {"a": one.double()}, {"a": one + 1}]
    assert len({tensor_digest(state) for state in states}) == len(states)


def test_a_type_that_numpy_lacks_has_a_digest_of_its_bytes() -> None:
    value = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    expected = hashlib.blake2b(b"a(2,)torch.bfloat16" + value.view(torch.int16).numpy().tobytes(), digest_size=16)
    assert tensor_digest({"a": value}) == expected.hexdigest()


def test_a_change_in_place_is_seen() -> None:
    value = torch.zeros(4)
    before = tensor_digest({"a": value})
    value.data[0] = 1
    assert tensor_digest({"a": value}) != before
    value.data[0] = 0
    assert tensor_digest({"a": value}) == before


def test_the_same_state_is_stored_once_and_comes_back_to_the_bit(tmp_path: Path) -> None:
    state = {"trunk.weight": torch.rand(3, 2), "trunk.count": torch.tensor(7)}
    where = store_shared(tmp_path, state)
    written = (tmp_path / where).stat().st_mtime_ns
    assert store_shared(tmp_path, {name: value.clone() for name, value in state.items()}) == where
    assert [path.stat().st_mtime_ns for path in (tmp_path / FOLDER).iterdir()] == [written]
    loaded = load_shared(tmp_path, where)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_another_state_is_another_file(tmp_path: Path) -> None:
    assert store_shared(tmp_path, {"a": torch.zeros(2)}) != store_shared(tmp_path, {"a": torch.ones(2)})
