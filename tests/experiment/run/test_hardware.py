import weakref

import pytest
import torch

from experiment.run.hardware import best_precision, keep_freed_memory, return_memory


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_takes_bfloat16_where_it_has_it_in_hardware(monkeypatch, able: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation)
    assert best_precision("auto") == best_precision("gpu") == expected


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_takes_bfloat16_where_it_has_it_in_hardware(monkeypatch, capability: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert best_precision("auto") == best_precision("cpu") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert best_precision("cpu") == "32-true"


def test_the_allocator_still_works_after_it_was_told_to_keep_memory() -> None:
    keep_freed_memory()
    assert torch.ones(2_000_000).sum() == 2_000_000


def test_what_holds_itself_is_given_back() -> None:
    """As a model and its trainer do."""
    tensor = torch.ones(3)
    tensor.itself = tensor  # type: ignore[attr-defined]
    seen = weakref.ref(tensor)
    del tensor
    assert seen() is not None
    return_memory()
    assert seen() is None
