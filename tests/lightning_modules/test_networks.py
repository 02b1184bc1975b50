from pathlib import Path

import pytest
import timm
import torch

from experiment.core.errors import UserError
from lightning_modules.networks import RESNETS, build_network


@pytest.mark.parametrize("name", RESNETS)
def test_taps_of_a_resnet_are_described_by_table_1_of_its_paper(name: str) -> None:
    with torch.device("meta"):
        taps = build_network("torchvision", name, None).taps
    wide = 1 if name in ("resnet18", "resnet34") else 4
    assert [(tap.name, tap.channels, tap.stride) for tap in taps] == [
        ("stem", 64, 4), ("layer1", 64 * wide, 4), ("layer2", 128 * wide, 8), ("layer3", 256 * wide, 16),
        ("layer4", 512 * wide, 32),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "efficientnet_b0"])
def test_a_file_of_the_plain_model_fills_the_network_without_its_classifier(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    torch.save(plain.state_dict(), tmp_path / "weights.pth")
    network = build_network("timm", name, str(tmp_path / "weights.pth"))
    size = 224 if name.startswith("vit") else 64
    image = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        expected = plain.forward_intermediates(image, norm=name.startswith("vit"), intermediates_only=True)[-1]
        torch.testing.assert_close(network.module.eval()(image)[-1], expected)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("convnext_femto").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights.pth does not fit convnext_atto: missing or of another shape"):
        build_network("timm", "convnext_atto", str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("library", "name", "said"),
    [
        ("keras", "resnet18", "torchvision, timm"),
        ("torchvision", "resnet19", "Did you mean 'resnet1"),
        ("timm", "convnext_ato", "convnext_atto"),
        ("timm", "hf-hub:someone/net", "is no model of timm"),
    ],
)
def test_an_unknown_network_says_what_there_is(library: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_network(library, name, None)
