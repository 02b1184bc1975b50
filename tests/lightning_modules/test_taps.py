import numpy as np
import torch

from lightning_modules.taps import POOLINGS, Tap, columns_of, pool, pool_all

RESNET18 = [Tap("stem", 64, 4), *(Tap(f"layer{i + 1}", 64 * 2**i, 4 * 2**i) for i in range(4))]


def test_all_poolings_of_all_maps_stand_where_the_columns_say() -> None:
    torch.manual_seed(0)
    known = RESNET18[:3]
    maps = {
        tap.name: torch.relu(torch.randn(2, tap.channels, 7, 7)).contiguous(memory_format=torch.channels_last) for tap in known
    }
    out = pool_all(maps)
    assert out.shape == (2, len(POOLINGS) * sum(tap.channels for tap in known))
    for tap in known:
        for how in POOLINGS:
            columns = columns_of(known, [tap.name], [how])
            torch.testing.assert_close(out[:, columns], pool(maps[tap.name], how), rtol=1e-5, atol=1e-6)


def test_columns_come_in_the_order_asked_for() -> None:
    known = RESNET18  # 64, 64, 128, 256 and 512 channels
    assert columns_of(known, ["layer2", "stem"], ["max", "mean"]) == [
        *range(3 * 128 + 128, 3 * 128 + 256), *range(3 * 128, 3 * 128 + 128), *range(64, 128), *range(64)
    ]  # fmt: skip


def test_the_spread_of_a_map_without_spread_is_none() -> None:
    """The difference of two moments may come out below zero, and its root would be no number."""
    value = torch.full((1, 64, 9, 9), 1 / 3)
    assert pool_all({"layer1": value})[0, 128:].abs().max() < 1e-3
    assert torch.isfinite(pool_all({"layer1": value.bfloat16()})).all()


def test_pooling_is_that_of_numpy() -> None:
    maps = torch.rand(2, 3, 4, 5)
    flat = maps.numpy().reshape(2, 3, -1)
    for how, expected in (("mean", flat.mean(-1)), ("max", flat.max(-1)), ("std", flat.std(-1))):
        np.testing.assert_allclose(pool(maps, how).numpy(), expected, rtol=1e-5)
