import pytest
import torch
from tiny import FAMILIES, READING, TRUNK

from experiment.core.errors import UserError
from experiment.core.symmetry import apply_symmetry
from lightning_modules.reading import Reading, average_views
from lightning_modules.taps import pool_all
from lightning_modules.trunk import Trunk


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk(**TRUNK).eval()  # type: ignore[arg-type]


def reading(trunk: Trunk, **changes: object) -> Reading:
    return Reading(trunk, **{**READING, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("taps", [["layer3"], ["layer4", "stem"], ["layer1", "layer2"]])
@pytest.mark.parametrize("pooling", [["mean"], ["std", "max"]])
def test_skip_features_are_columns_of_all_features(trunk: Trunk, taps: list[str], pooling: list[str]) -> None:
    read = reading(trunk, taps=taps, pooling=pooling)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        everything = average_views(lambda view: pool_all(trunk.maps(view)), images, 1)
        torch.testing.assert_close(everything[:, read.columns], read.skip_features(trunk, images), rtol=0, atol=0)


def test_skip_features_join_pooled_taps_along_features(trunk: Trunk) -> None:
    read, images = reading(trunk), torch.rand(2, 3, 64, 64)
    features, maps = read.skip_features(trunk, images), trunk.maps(images)
    assert features.shape == (2, 2 * (64 + 256)) == (2, read.features)
    torch.testing.assert_close(features[:, :64], maps["layer1"].mean(dim=(2, 3)))
    torch.testing.assert_close(features[:, 64:128], maps["layer1"].amax(dim=(2, 3)))
    torch.testing.assert_close(features[:, 128:384], maps["layer3"].mean(dim=(2, 3)))
    torch.testing.assert_close(read.pooled(maps), features)


@pytest.mark.parametrize("name", FAMILIES)
def test_taps_that_are_not_named_are_four_of_any_network(name: str) -> None:
    trunk = Trunk(**FAMILIES[name]).eval()  # type: ignore[arg-type]
    read = Reading(trunk, None, ["mean"], 1)
    widths = {tap.name: tap.channels for tap in trunk.taps}
    with torch.inference_mode():
        assert read.skip_features(trunk, torch.rand(1, 3, 64, 64)).shape == (1, sum(widths[tap] for tap in read.taps))
    assert len(read.taps) == 4


@pytest.mark.parametrize("symmetries", [4, 8])
def test_averaged_features_do_not_change_when_the_image_is_turned_or_mirrored(trunk: Trunk, symmetries: int) -> None:
    read, image = reading(trunk, symmetries=symmetries), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        views = torch.cat([read.skip_features(trunk, apply_symmetry(image, index)) for index in range(symmetries)])
        single = reading(trunk).skip_features(trunk, image)
    torch.testing.assert_close(views, views[:1].expand_as(views), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(views[:1], single, rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taps": ["layer9"]}, "stem, layer1, layer2, layer3, layer4"),
        ({"taps": ["layer1", "layer1"]}, "each once"),
        ({"taps": []}, "at least one"),
        ({"pooling": ["median"]}, "mean, max, std"),
        ({"pooling": []}, "at least one"),
        ({"symmetries": 3}, "1, 4, 8"),
    ],
)
def test_wrong_settings_say_what_is_allowed(trunk: Trunk, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        reading(trunk, **changes)
