import urllib.error
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models

from experiment.core.errors import UserError
from lightning_modules.weights import torchvision_state, weights_digest


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return models.resnet18(weights=None).state_dict()


def saved(path: Path, content: object) -> str:
    torch.save(content, path)
    return str(path)


def test_a_state_dict_is_read_without_its_classifier(tmp_path: Path, state: dict[str, Tensor]) -> None:
    loaded = torchvision_state("resnet18", saved(tmp_path / "w.pth", state))
    assert set(loaded) == {key for key in state if not key.startswith("fc.")}
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"])


def test_a_checkpoint_around_the_state_dict_is_read_too(tmp_path: Path, state: dict[str, Tensor]) -> None:
    assert "layer1.0.conv1.weight" in torchvision_state(
        "resnet18", saved(tmp_path / "w.pth", {"state_dict": state, "epoch": 3})
    )


def test_missing_further_and_misshapen_keys_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    changed = {**state, "extra.weight": torch.zeros(1), "bn1.weight": torch.zeros(3)}
    del changed["conv1.weight"]
    with pytest.raises(UserError) as caught:
        torchvision_state("resnet18", saved(tmp_path / "w.pth", changed))
    text = str(caught.value)
    assert "1 missing: conv1.weight" in text
    assert "1 not of this network: extra.weight" in text
    assert "bn1.weight (3,) instead of (64,)" in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_before_training(tmp_path: Path, number: float) -> None:
    state = models.resnet18(weights=None).state_dict()
    state["layer1.0.bn1.weight"][3] = number
    with pytest.raises(UserError, match=r"w\.pth has numbers that are not finite, in layer1\.0\.bn1\.weight"):
        torchvision_state("resnet18", saved(tmp_path / "w.pth", state))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_a_file_with_code_in_it_is_refused_and_the_code_never_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    weights = saved(tmp_path / "w.pth", {"conv1.weight": Evil(ran)})
    with pytest.raises(UserError, match="nothing in it was run"):
        torchvision_state("resnet18", weights)
    assert not ran.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(2), {1: torch.zeros(2)}, {"a": torch.eye(2).to_sparse()}])
def test_what_is_no_mapping_to_tensors_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(UserError, match="not a plain state dict"):
        torchvision_state("resnet18", saved(tmp_path / "w.pth", content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.pth is not there"):
        torchvision_state("resnet18", str(tmp_path / "nowhere.pth"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="default, IMAGENET1K_V1, DEFAULT, null"):
        torchvision_state("resnet18", "IMAGENET1K_V7")


def test_a_failed_download_says_so_with_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # so that no earlier download is found
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(UserError, match=r"download failed .*no route.*trunk\.weights=FILE.*trunk\.weights=null"):
        torchvision_state("resnet18", "IMAGENET1K_V1")


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path, state: dict[str, Tensor]) -> None:
    first, copy = saved(tmp_path / "a.pth", state), saved(tmp_path / "b.pth", state)
    other = saved(tmp_path / "c.pth", {**state, "conv1.weight": state["conv1.weight"] + 1})
    Path(copy).write_bytes(Path(first).read_bytes())
    assert (
        weights_digest("torchvision", "resnet18", first)
        == weights_digest("torchvision", "resnet18", copy)
        != weights_digest("torchvision", "resnet18", other)
    )
    assert weights_digest("torchvision", "resnet18", None) == "random"
    assert weights_digest("torchvision", "resnet18", "default") == weights_digest("torchvision", "resnet18", "IMAGENET1K_V1")


def test_weights_of_timm_go_by_their_tag() -> None:
    assert (
        weights_digest("timm", "resnet18", "default")
        == weights_digest("timm", "resnet18", "a1_in1k")
        == "timm resnet18.a1_in1k"
    )
    with pytest.raises(UserError, match="a1_in1k"):
        weights_digest("timm", "resnet18", "a1_in2k")
