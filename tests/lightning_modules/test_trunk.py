import pytest
import torch
from tiny import FAMILIES, TRUNK
from torchvision import models

from experiment.core.errors import UserError
from lightning_modules.trunk import Trunk


def trunk(**changes: object) -> Trunk:
    return Trunk(**{**TRUNK, **changes}).eval()  # type: ignore[arg-type]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Trunk:
    """A trunk of each family, with random weights."""
    torch.manual_seed(0)
    return trunk(**FAMILIES[request.param])


def test_taps_have_the_channels_and_strides_of_their_description(family: Trunk) -> None:
    maps = family.maps(torch.rand(1, 3, 64, 64))
    assert {tap.name: (tap.channels, 64 // tap.stride) for tap in family.taps} == {
        name: (value.shape[1], value.shape[2]) for name, value in maps.items()
    }
    assert family.taps[-1].channels == family.last_map(torch.rand(1, 3, 64, 64)).shape[1]


def test_taps_are_torchvisions_own_layers() -> None:
    torch.manual_seed(0)
    reference = models.resnet18(weights=None).eval().double()
    net = trunk().double()
    net.net.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    x = (images - net.mean) / net.std
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64), rtol=1e-6, atol=0)
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
        torch.testing.assert_close(maps[name], value)


def test_the_last_tap_of_a_transformer_is_normed() -> None:
    """A getter of timm leaves the final norm out by default; a linear classifier needs it."""
    net = trunk(**FAMILIES["vit"])
    channels = net.last_map(torch.rand(2, 3, 64, 64)).flatten(2)
    torch.testing.assert_close(channels.mean(dim=1), torch.zeros(2, 16), rtol=0, atol=1e-5)
    torch.testing.assert_close(channels.var(dim=1, correction=0), torch.ones(2, 16), rtol=1e-3, atol=1e-3)


def test_mean_and_std_are_those_of_the_networks_weights() -> None:
    assert trunk(**FAMILIES["vit"]).mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert trunk(**FAMILIES["convnext"]).std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet", ["layer1", "layer2", "layer3", "layer4"]),
        ("convnext", ["stages.0", "stages.1", "stages.2", "stages.3"]),
        ("vit", ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]),
    ],
)
def test_four_evenly_spaced_taps_are_read_by_default(name: str, expected: list[str]) -> None:
    assert trunk(**FAMILIES[name]).default_taps == expected


def test_a_chain_goes_on_behind_any_tap(family: Trunk) -> None:
    images = torch.rand(2, 3, 64, 64)
    whole = family.maps(images)
    if family.stages is None:
        pytest.skip("not a chain of stages")
    for tap in family.taps[:-1]:
        family.starts_behind = tap.name
        torch.testing.assert_close(family.last_map(whole[tap.name]), whole[family.taps[-1].name])
    family.starts_behind = family.taps[-1].name
    assert torch.equal(family.last_map(whole[family.taps[-1].name]), whole[family.taps[-1].name])


def test_only_the_layers_up_to_the_last_one_asked_for_are_run() -> None:
    net, called = trunk(), []
    net.net.layer3.register_forward_hook(lambda *_: called.append("layer3"))
    net.maps(torch.rand(1, 3, 64, 64), "layer2")
    assert called == []


def test_depth_falls_from_the_stem_to_the_last_stage(family: Trunk) -> None:
    depths = family.depths()
    assert list(depths) == [name for name, _ in family.net.named_parameters()]
    assert sorted(depths.values(), reverse=True) == list(depths.values())
    assert min(depths.values()) == 0
    assert max(depths.values()) == {"resnet18": 4, "convnext_atto": 3, "vit_tiny_patch16_224": 3}[family.name]


def test_depths_of_a_resnet_are_its_stages() -> None:
    depths = trunk().depths()
    assert {name: depths[f"{name}.0.conv1.weight"] for name in ("layer1", "layer2", "layer3", "layer4")} == {
        "layer1": 3, "layer2": 2, "layer3": 1, "layer4": 0,
    }  # fmt: skip
    assert depths["conv1.weight"] == 4


def test_weight_decay_spares_biases_norms_tokens_and_positions() -> None:
    exempt = trunk(**FAMILIES["vit"]).without_decay()
    assert {"model.cls_token", "model.pos_embed", "model.norm.weight", "model.blocks.0.attn.qkv.bias"} <= exempt
    assert "model.blocks.0.attn.qkv.weight" not in exempt
    net = trunk()
    assert net.without_decay() == {name for name, value in net.net.named_parameters() if value.ndim == 1}


@pytest.mark.parametrize(("name", "until", "stages"), [("resnet", "layer2", 3), ("convnext", "stages.1", 2)])
def test_frozen_layers_take_no_gradient_and_stay_in_eval_mode(name: str, until: str, stages: int) -> None:
    net = trunk(**FAMILIES[name])
    net.freeze(until)
    net.train()
    assert net.stages is not None
    for number, stage in enumerate(net.stages):
        for module in map(net.net.get_submodule, stage):
            assert module.training == (number >= stages)
            assert all(value.requires_grad == (number >= stages) for value in module.parameters())


def test_a_network_that_is_no_chain_refuses_to_be_frozen() -> None:
    with pytest.raises(UserError, match="vit_tiny_patch16_224 is no chain of stages"):
        trunk(**FAMILIES["vit"]).freeze("blocks.3")


def test_an_unknown_layer_to_freeze_is_named() -> None:
    with pytest.raises(UserError, match=r"model.freeze_until=layer9 is not allowed; allowed: stem, layer1"):
        trunk().freeze("layer9")


def test_a_description_follows_the_weights_up_to_its_layer(family: Trunk) -> None:
    first, last = family.taps[0].name, family.taps[-1].name
    before = {tap: family.described(tap) for tap in (first, last)}
    assert family.described() == before[last]
    parameter = list(family.net.parameters())[-1]
    with torch.no_grad():
        parameter.add_(1)
    assert family.described(last)["weights"] != before[last]["weights"]
    if family.stages is not None:
        assert family.described(first) == before[first]


def test_a_network_of_one_image_size_says_so() -> None:
    with pytest.raises(UserError, match=r"trunk.name=swin_tiny.*Set data.image_size"):
        trunk(library="timm", name="swin_tiny_patch4_window7_224").maps(torch.rand(1, 3, 64, 64))


def test_a_stand_alone_plan_needs_no_memory_for_weights() -> None:
    with torch.device("meta"):
        assert next(Trunk(**TRUNK).net.parameters()).device.type == "meta"  # type: ignore[arg-type]
