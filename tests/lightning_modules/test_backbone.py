import numpy as np
import pytest
import torch
from tiny import BACKBONE
from torchvision import models

from experiment.core.errors import UserError
from experiment.core.symmetry import apply_symmetry
from lightning_modules.backbone import SkipBackbone
from lightning_modules.taps import RESNETS, pool, taps_of


def backbone(**changes: object) -> SkipBackbone:
    return SkipBackbone(**{**BACKBONE, **changes}).eval()


@pytest.mark.parametrize("name", RESNETS[:3])
def test_taps_have_the_channels_and_strides_that_their_description_says(name: str) -> None:
    net = backbone(name=name, taps=["layer1"])
    maps = net.maps(torch.rand(1, 3, 64, 64))
    assert {tap.name: (tap.channels, 64 // tap.stride) for tap in taps_of(name)} == {
        key: (value.shape[1], value.shape[2]) for key, value in maps.items()
    }


def test_taps_are_torchvisions_own_layers() -> None:
    torch.manual_seed(0)
    reference = models.resnet18(weights=None).eval()
    net = backbone()
    net.net.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    images = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean[:, None, None]) / std[:, None, None]
    expected = {}
    hooks = [
        reference.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: expected.update({name: out}))
        for name in ("layer1", "layer2", "layer3", "layer4")
    ]
    reference(x)
    for hook in hooks:
        hook.remove()
    maps = net.maps(images)
    for name, value in expected.items():
        torch.testing.assert_close(maps[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("taps", [["layer3"], ["layer4", "stem"], ["layer1", "layer2"]])
@pytest.mark.parametrize("pooling", [["mean"], ["std", "max"]])
def test_skip_features_are_columns_of_every_feature(taps: list[str], pooling: list[str]) -> None:
    net = backbone(taps=taps, pooling=pooling).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(net.every_feature(images)[:, net.columns], net.skip_features(images), rtol=0, atol=0)


def test_skip_features_join_pooled_taps_along_features() -> None:
    net = backbone(taps=["layer1", "layer3"], pooling=["mean", "max"])
    images = torch.rand(2, 3, 64, 64)
    features = net.skip_features(images)
    assert features.shape == (2, 2 * (64 + 256)) == (2, net.features)
    maps = net.maps(images)
    torch.testing.assert_close(features[:, :64], maps["layer1"].mean(dim=(2, 3)))
    torch.testing.assert_close(features[:, 64:128], maps["layer1"].amax(dim=(2, 3)))
    torch.testing.assert_close(features[:, 128:384], maps["layer3"].mean(dim=(2, 3)))


def test_only_the_layers_up_to_the_last_tap_are_run() -> None:
    net = backbone(taps=["layer2", "stem"])
    called = []
    net.net.layer3.register_forward_hook(lambda *_: called.append("layer3"))
    net.skip_features(torch.rand(1, 3, 64, 64))
    assert called == []


@pytest.mark.parametrize("symmetries", [4, 8])
def test_averaged_features_do_not_change_when_the_image_is_turned_or_mirrored(symmetries: int) -> None:
    net = backbone(symmetries=symmetries)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        views = torch.cat([net.skip_features(apply_symmetry(image, index)) for index in range(symmetries)])
        plain = backbone().skip_features(image)
    torch.testing.assert_close(views, views[:1].expand_as(views), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(views[:1], plain, rtol=1e-2)


def test_pooling_is_that_of_numpy() -> None:
    maps = torch.rand(2, 3, 4, 5)
    flat = maps.numpy().reshape(2, 3, -1)
    for how, expected in (("mean", flat.mean(-1)), ("max", flat.max(-1)), ("std", flat.std(-1))):
        np.testing.assert_allclose(pool(maps, how).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taps": ["layer9"]}, "layer1, layer2, layer3, layer4"),
        ({"taps": ["layer1", "layer1"]}, "each once"),
        ({"taps": []}, "at least one"),
        ({"pooling": ["median"]}, "mean, max, std"),
        ({"name": "resnet19"}, "Did you mean 'resnet1"),
        ({"symmetries": 3}, "1, 4, 8"),
    ],
)
def test_wrong_settings_say_what_is_allowed(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        backbone(**changes)
