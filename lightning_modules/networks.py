"""Networks by name, from torchvision or timm, as a trunk needs them: without classifier, described by their taps."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from experiment.core.errors import UserError, not_allowed
from lightning_modules.taps import Tap
from lightning_modules.weights import load_file, torchvision_state, weights_are_file

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
LIBRARIES = ("torchvision", "timm")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std that every torchvision weight file expects


@dataclass(frozen=True)
class Network:
    """A network without its classifier.

    Attributes:
        module: of a chain, the parts that `stages` name; else images (B, 3, H, W) to the list of all taps' outputs.
        taps: in the order of computation.
        stages: of a chain of stages, the submodules from each tap to the next, the first ones from the image; None where
            the network cannot be cut (a transformer's blocks share tokens that are no part of their maps).
        mean: of the images that the weights were trained on, RGB in [0, 1].
        std: of the same.
    """

    module: nn.Module
    taps: tuple[Tap, ...]
    stages: tuple[tuple[str, ...], ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_network(library: str, name: str, weights: str | None) -> Network:
    """Build a network, with pretrained weights unless `weights` is None.

    Args:
        library: ``torchvision`` (its ResNets) or ``timm`` (any of its models).
        name: of the network, in that library.
        weights: see `lightning_modules.weights`.

    Raises:
        UserError: unknown name, failed download, or a file that does not fit.
    """
    if library not in LIBRARIES:
        raise not_allowed("trunk.library", library, LIBRARIES)
    return _torchvision_resnet(name, weights) if library == "torchvision" else _timm_model(name, weights)


def _torchvision_resnet(name: str, weights: str | None) -> Network:
    """Build a ResNet; its taps are the stem and four stages (He et al. 2016, table 1)."""
    if name not in RESNETS:
        raise not_allowed("trunk.name", name, (*RESNETS, "with trunk=timm any model of timm"))
    net = models.get_model(name, weights=None)
    net.fc = nn.Identity()
    if weights is not None and net.conv1.weight.device.type != "meta":
        net.load_state_dict(torchvision_state(name, weights))
    expansion = 1 if name in ("resnet18", "resnet34") else 4
    taps = (Tap("stem", 64, 4), *(Tap(f"layer{i + 1}", 64 * 2**i * expansion, 4 * 2**i) for i in range(4)))
    stages = (("conv1", "bn1", "relu", "maxpool"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
    return Network(net, taps, stages, *IMAGENET)


def _timm_model(name: str, weights: str | None) -> Network:
    """Build a model of timm; its ``feature_info`` describes the taps, its ``pretrained_cfg`` mean and std."""
    import timm  # takes a second or two: only for its networks
    from timm.models import FeatureListNet

    if not timm.is_model(name.partition(".")[0]):
        near = get_close_matches(name, timm.list_models(), n=3)
        raise UserError(
            f"trunk.name={name} is no model of timm{'; near: ' + ', '.join(near) if near else ''}. "
            "python -c 'import timm; print(*timm.list_models())' lists all."
        )
    from_file = weights is not None and weights_are_file(weights)
    named = weights is not None and not from_file
    tagged = f"{name.partition('.')[0]}.{weights}" if named and weights != "default" else name
    planning = torch.empty(0).device.type == "meta"  # only the settings are looked at: no weights are loaded
    with torch.device("cpu"):  # timm computes with numbers of its layers while it builds them
        net = _feature_network(tagged, pretrained=named and not planning)
        if from_file and not planning:
            net.load_state_dict(_state_from_plain(net, name, str(weights)))
    config = timm.get_pretrained_cfg(tagged)
    mean, std = (config.mean, config.std) if config else IMAGENET
    taps = tuple(Tap(i["module"], i["num_chs"], i["reduction"]) for i in net.feature_info.get_dicts())
    stages = tuple(_stages(net)) if isinstance(net, FeatureListNet) else None
    return Network(net, taps, stages, tuple(mean), tuple(std))


def _feature_network(name: str, pretrained: bool) -> Any:
    """Return timm's wrapper of a model that gives all features; transformers take images of any size and end in their norm."""
    import timm

    try:
        net: Any = timm.create_model(name, pretrained=pretrained, features_only=True)
        if not hasattr(net, "model"):
            return net
        # A getter asks the whole model for its features. By default timm cuts the final norm off and fixes the image size.
        options: Any = {"dynamic_img_size": True} if hasattr(net.model, "dynamic_img_size") else {}
        plain: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
        return type(net)(plain, out_indices=list(range(len(plain.feature_info))), norm=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"trunk.name={name}: timm could not build it ({' '.join(str(error).split())}). Fetch its weights elsewhere and "
            "give their path with trunk.weights=FILE, or train from scratch with trunk.weights=null."
        ) from error


def _stages(net: Any) -> Iterator[tuple[str, ...]]:
    """Yield the names of the parts of a chain from each tap to the next."""
    names: list[str] = []
    for name in net:
        names.append(name)
        if name in net.return_layers:
            yield tuple(names)
            names = []


def _state_from_plain(net: nn.Module, name: str, weights: str) -> dict[str, Tensor]:
    """Return the state of a feature network from a file that holds the state of the plain model."""
    with torch.device("meta"):
        expected = {key: value.shape for key, value in net.state_dict().items()}
    state = load_file(weights)
    plain = {key.replace(".", "_"): key for key in state}
    names = {key: plain.get(key.removeprefix("model.").replace(".", "_"), key) for key in expected}
    fitting = {key: state[source] for key, source in names.items() if source in state}
    wrong = [key for key, shape in expected.items() if key not in fitting or fitting[key].shape != shape]
    if wrong:
        raise UserError(f"trunk.weights={weights} does not fit {name}: missing or of another shape: {', '.join(wrong[:3])}, …")
    return fitting
