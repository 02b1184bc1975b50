import hashlib

import torch

from experiment.store.tensor_digest import tensor_digest


def test_it_is_the_digest_of_names_shapes_types_and_bytes() -> None:
    value = torch.arange(6, dtype=torch.float32).view(2, 3)
    expected = hashlib.blake2b(b"a(2, 3)torch.float32" + value.numpy().tobytes(), digest_size=16).hexdigest()
    assert tensor_digest({"a": value}) == expected
    assert tensor_digest({"a": value.clone()}) == expected


def test_another_name_shape_type_or_value_is_another_state() -> None:
    one = torch.zeros(4)
    states = [{"a": one}, {"b": one}, {"a": one.view(2, 2)}, {"a": one.double()}, {"a": one + 1}]
    assert len({tensor_digest(state) for state in states}) == len(states)


def test_a_change_in_place_is_seen() -> None:
    value = torch.zeros(4)
    before = tensor_digest({"a": value})
    value[0] = 1
    assert tensor_digest({"a": value}) != before
    value[0] = 0
    assert tensor_digest({"a": value}) == before


def test_memory_that_was_given_back_and_used_again_is_not_mistaken() -> None:
    digests = set()
    for number in range(50):
        digests.add(tensor_digest({"a": torch.full((1000,), float(number))}))
    assert len(digests) == 50
