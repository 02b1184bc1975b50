"""What every data module must do. A new yaml in conf/data is tested before its author writes a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.kfold import KFoldDataModule
from experiment.core.build import build, plain
from experiment.core.contracts import FoldData
from experiment.core.folds import FoldScheme
from experiment.core.tables import Split

CONF = Path(__file__).resolve().parents[2] / "conf"
SIZE = 32
COMMON = [f"data.image_size={SIZE}", "data.batch_size=8"]


def rows_of(data: KFoldDataModule, *parts: str) -> DataLoader[Any]:
    return data.rows_loader([sample for part in parts for sample in getattr(data.split, part)])


def _folder(root: Path) -> list[str]:
    """40 images of 10 patients: grey and colour, 8 and 16 bits, not square."""
    draw = np.random.default_rng(0)
    lines = ["image,label,group"]
    for number in range(40):
        if number % 3 == 0:
            pixels = draw.integers(0, 65536, (36, 30), dtype=np.uint16)
        else:
            pixels = draw.integers(0, 256, (36, 30, 3)[: 2 + number % 2], dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        lines.append(f"{number}.png,{('no', 'yes')[number // 10 % 2]},p{number % 10}")
    (root / "labels.csv").write_text("\n".join(lines))
    return [f"data.root={root}"]


# What each data set needs beyond COMMON to be small; a function may write files into a folder first.
EXTRA: dict[str, Callable[[Path], list[str]]] = {
    "synthetic": lambda _: ["data.images=40", "data.patients=10"],
    "folder": _folder,
}
DATASETS = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
Loaded = tuple[FoldData, Split]
Make = Callable[..., Loaded]


def test_the_data_sets_of_the_configs_are_found() -> None:
    assert {"synthetic", "folder"} <= set(DATASETS)


@pytest.fixture(scope="module", params=DATASETS)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Loads the data set of one yaml, with the first of three folds chosen."""
    name = request.param
    if name not in EXTRA:
        pytest.fail(f"conf/data/{name}.yaml is new: say in {Path(__file__).name}, EXTRA, which overrides make it small.")
    extra = EXTRA[name](tmp_path_factory.mktemp(name))
    cache = tmp_path_factory.mktemp("cache")

    def made(*overrides: str) -> Loaded:
        with initialize_config_dir(str(CONF)):
            config = plain(compose("train", [f"data={name}", f"paths.cache={cache}", *COMMON, *extra, *overrides]))
        data = build(config["data"], FoldData)
        samples = data.load()
        split = next(iter(FoldScheme(k=3, val=0.3).split(samples, seed=0)))
        data.set_split(split)
        return data, split

    return made


@pytest.fixture(scope="module")
def loaded(make: Make) -> Loaded:
    return make()


def batches(data: FoldData, loader: DataLoader[Any]) -> list[dict[str, Any]]:
    """Batches as a model sees them."""
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def ids(batches: list[dict[str, Any]]) -> list[str]:
    return [sample for batch in batches for sample in batch["sample_id"]]


def images(batches: list[dict[str, Any]]) -> Tensor:
    return torch.cat([batch["image"] for batch in batches])


def predict_loaders(data: FoldData) -> list[DataLoader[Any]]:
    loaders = data.predict_dataloader()
    assert isinstance(loaders, list)
    return loaders


def test_the_samples_table_is_valid(loaded: Loaded) -> None:
    samples = loaded[0].samples
    assert len(samples.rows) == 40
    assert samples.rows["sample_id"].is_unique
    assert all(isinstance(sample, str) and sample for sample in samples.sample_id)
    assert set(samples.target) == set(range(len(samples.classes)))
    assert list(samples.classes) == sorted(set(samples.classes))
    assert samples.positive in samples.classes
    assert all(isinstance(group, str) and group for group in samples.group)


def test_different_images_have_different_digests(loaded: Loaded) -> None:
    digests = loaded[0].samples.rows["digest"]
    assert digests.is_unique
    assert digests.str.fullmatch(r"[0-9a-f]{32}").all()


def test_targets_are_the_labels_of_the_rows(loaded: Loaded) -> None:
    data = loaded[0]
    assert isinstance(data, KFoldDataModule)
    label = {row.sample_id: row.label for row in data.rows()}
    samples = data.samples
    named = {sample: samples.classes[target] for sample, target in zip(samples.sample_id, samples.target, strict=True)}
    assert named == label


@pytest.mark.parametrize("part", ["fit", "val", "test"])
def test_a_loader_serves_exactly_its_part_once_and_in_order(loaded: Loaded, part: Any) -> None:
    data, split = loaded
    served = ids(batches(data, rows_of(data, part)))
    assert served == list(getattr(split, part))
    assert served


def test_parts_are_served_one_after_the_other(loaded: Loaded) -> None:
    data, split = loaded
    assert ids(batches(data, rows_of(data, "fit", "val"))) == [*split.fit, *split.val]


def test_val_and_predict_loaders_serve_their_parts(loaded: Loaded) -> None:
    data, split = loaded
    assert ids(batches(data, data.val_dataloader())) == list(split.val)
    assert [ids(batches(data, loader)) for loader in predict_loaders(data)] == [list(split.val), list(split.test)]


def test_batches_carry_float32_rgb_between_0_and_1(loaded: Loaded) -> None:
    data, _ = loaded
    for loader in (data.train_dataloader(), rows_of(data, "fit", "val", "test")):
        for batch in batches(data, loader):
            image = batch["image"]
            assert image.shape == (len(batch["sample_id"]), 3, SIZE, SIZE)
            assert image.dtype == torch.float32
            assert 0 <= image.min() < image.max() <= 1
            assert image.std() > 0.05
            assert batch["target"].dtype == torch.int64


def test_the_target_in_a_batch_is_that_of_its_sample(loaded: Loaded) -> None:
    data, _ = loaded
    for loader in (data.train_dataloader(), rows_of(data, "test", "val")):
        for batch in batches(data, loader):
            assert batch["target"].tolist() == data.samples.select(batch["sample_id"])["target"].tolist()


def test_an_image_in_a_batch_is_that_of_its_sample(loaded: Loaded) -> None:
    data, split = loaded
    one = {sample: image for b in batches(data, rows_of(data, "fit", "val")) for sample, image in zip(*pair(b), strict=True)}
    data.set_split(Split(0, 0, fit=split.val[::-1], val=split.fit[::-1], test=split.test))
    other = {sample: image for b in batches(data, rows_of(data, "fit", "val")) for sample, image in zip(*pair(b), strict=True)}
    data.set_split(split)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[sample], other[sample]) for sample in one)


def pair(batch: dict[str, Any]) -> tuple[list[str], Tensor]:
    return batch["sample_id"], batch["image"]


def test_val_test_and_predict_loaders_are_never_augmented(loaded: Loaded) -> None:
    data, _ = loaded
    loaders = [data.val_dataloader(), rows_of(data, "fit"), rows_of(data, "test"), *predict_loaders(data)]
    for loader in loaders:
        assert torch.equal(images(batches(data, loader)), images(batches(data, loader)))
    val, test = (images(batches(data, loader)) for loader in predict_loaders(data))
    assert torch.equal(images(batches(data, rows_of(data, "val", "test"))), torch.cat([val, test]))


def test_the_train_loader_is_augmented_and_shuffled_anew(loaded: Loaded) -> None:
    data, _ = loaded
    torch.manual_seed(0)
    first, second = (batches(data, data.train_dataloader()) for _ in range(2))
    assert ids(first) != ids(second)
    plain = {s: image for b in batches(data, rows_of(data, "fit")) for s, image in zip(*pair(b), strict=True)}
    same = [torch.equal(image, plain[s]) for b in first for s, image in zip(*pair(b), strict=True)]
    assert not any(same)


def test_the_train_loader_serves_fit_rows_only_and_none_twice(loaded: Loaded) -> None:
    data, split = loaded
    served = ids(batches(data, data.train_dataloader()))
    assert set(served) <= set(split.fit)
    assert len(served) == len(set(served)) == len(split.fit) // 8 * 8


def test_a_fit_part_smaller_than_a_batch_is_served_whole(loaded: Loaded) -> None:
    data, split = loaded
    data.set_split(Split(0, 0, fit=split.fit[:5], val=split.val, test=split.test))
    served = ids(batches(data, data.train_dataloader()))
    data.set_split(split)
    assert sorted(served) == sorted(split.fit[:5])


def test_two_loads_give_identical_batches(make: Make, loaded: Loaded) -> None:
    data, again = loaded[0], make()[0]
    assert again.samples.rows.equals(data.samples.rows)
    torch.manual_seed(1)
    first = batches(data, data.train_dataloader())
    torch.manual_seed(1)
    second = batches(again, again.train_dataloader())
    assert ids(first) == ids(second)
    assert torch.equal(images(first), images(second))


def test_decoding_on_demand_gives_the_batches_of_the_cache(make: Make, loaded: Loaded) -> None:
    data, on_demand = loaded[0], make("data.cache_gb=0")[0]
    assert isinstance(on_demand, KFoldDataModule)
    assert isinstance(data, KFoldDataModule)
    assert data._decoded.blocks is not None
    assert on_demand._decoded.blocks is None, "nothing is kept without room"
    assert on_demand.samples.rows.equals(data.samples.rows)
    for part in ("fit", "val", "test"):
        wanted, got = batches(data, rows_of(data, part)), batches(on_demand, rows_of(on_demand, part))
        assert ids(wanted) == ids(got)
        torch.testing.assert_close(images(got), images(wanted), rtol=0, atol=0)


def test_a_second_load_reads_no_image(make: Make, loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(loaded[0]), "read", lambda *_: pytest.fail("read again"))
    assert make()[0].samples.rows.equals(loaded[0].samples.rows)


def test_worker_processes_serve_the_same_batches(make: Make, loaded: Loaded) -> None:
    data, with_workers = loaded[0], make("data.num_workers=1")[0]
    assert torch.equal(
        images(batches(with_workers, rows_of(with_workers, "val"))), images(batches(data, rows_of(data, "val")))
    )


def test_the_rows_leave_the_folds_as_they_came(loaded: Loaded) -> None:
    """The parts of a fold partition the table, so that no row is lost between the table and the loaders."""
    data, split = loaded
    served = ids(batches(data, rows_of(data, "fit", "val", "test")))
    assert sorted(served) == sorted(data.samples.sample_id)
    assert len(served) == len(split.fit) + len(split.val) + len(split.test)


@pytest.mark.parametrize(("setting", "value"), [("image_size", 16), ("batch_size", 1)])
def test_too_small_a_setting_is_named(make: Make, setting: str, value: int) -> None:
    with pytest.raises(Exception, match=rf"data\.{setting}={value} is not allowed") as caught:
        make(f"data.{setting}={value}")
    assert type(caught.value).__name__ == "UserError"
