"""Three processes, connected as a job's are: what they tell each other, and batches and batch norm as in one process."""

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from typing import TypeVar

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from datamodules.augment import Augment
from datamodules.shared_batches import SharedBatches
from experiment.core import ranks
from experiment.core.errors import UserError
from experiment.run import launching
from experiment.run.batch_norm import WholeBatchNorm

T = TypeVar("T")
SIZE = 3
TOGETHER = {"accelerator": "cpu", "devices": SIZE, "num_nodes": 1, "strategy": "ddp"}


@pytest.mark.cluster
def test_all_that_processes_do_together() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_one_of_them, (port,), nprocs=SIZE)


def _one_of_them(rank: int, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), OMP_NUM_THREADS="1")
    ranks.enter(TOGETHER, in_sweep=False)
    assert ranks.is_first() == (rank == 0)
    launching.meet(TOGETHER, work=False)
    assert (ranks.rank(), ranks.size(), ranks.is_first()) == (rank, SIZE, rank == 0)

    assert ranks.first(lambda: f"of {rank}") == "of 0"
    assert ranks.gathered(rank) == [0, 1, 2]
    assert ranks.divided(range(7), lambda item: (item, rank)) == [(item, item % SIZE) for item in range(7)]
    assert float(ranks.relative(torch.tensor(float(rank + 1)))) == pytest.approx((rank + 1) / 2)
    for count in (3, 7, 48):
        assert [*chain.from_iterable(ranks.gathered(ranks.share(range(count))))] == [*range(count)]
    assert list(ranks.share(range(2))) == [0, 1]
    assert ranks.gathered(list(ranks.even_share(range(8)))) == [[0, 1], [2, 3], [4, 5]]
    _batches_are_those_of_one_process()
    _augmentation_is_that_of_one_process()
    _batch_norm_is_that_of_one_process(rank)

    # The first alone knows why it failed; the others end without a word.
    with pytest.raises(UserError if rank == 0 else SystemExit) as ended:
        ranks.first(_fails)
    assert rank == 0 or ended.value.code == 0  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) if rank else nullcontext():
        ranks.part()
    assert ranks.size() == 1
    assert ranks.is_first()


def _batches_are_those_of_one_process() -> None:
    def epochs() -> list[list[list[int]]]:
        torch.manual_seed(7)
        batches = SharedBatches(20, 6, drop_last=True)
        return [list(batches) for _ in range(2)]

    shares = ranks.gathered(epochs())
    whole = _alone(epochs)
    for epoch, expected in enumerate(whole):
        joined = [[*chain.from_iterable(parts)] for parts in zip(*(own[epoch] for own in shares), strict=True)]
        assert joined == expected
        assert len(expected) == 3
        assert len({*chain.from_iterable(expected)}) == 18
    assert whole[0] != whole[1]
    assert len(SharedBatches(5, 6, drop_last=False)) == 1


def _augmentation_is_that_of_one_process() -> None:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def augmented() -> torch.Tensor:
        torch.manual_seed(3)
        own, augment = torch.stack(list(ranks.share(list(images)))), Augment()
        return augment(own, augment.draw(len(own)))

    assert torch.equal(torch.cat(ranks.gathered(augmented())), _alone(augmented))


def _batch_norm_is_that_of_one_process(rank: int) -> None:
    torch.manual_seed(5)
    images, weights = torch.randn(6, 4, 5, 5) * 3 + 2, torch.randn(6, 4, 5, 5)
    plain = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    shared = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    WholeBatchNorm().apply(shared)
    whole, own = images.clone().requires_grad_(), images[rank * 2 : rank * 2 + 2].clone().requires_grad_()
    (plain(whole) * weights).sum().backward()
    (shared(own) * weights[rank * 2 : rank * 2 + 2]).sum().backward()
    assert torch.allclose(own.grad, whole.grad[rank * 2 : rank * 2 + 2], atol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.allclose(shared.state_dict()[name], value, atol=1e-6), name
    weight = torch.stack(ranks.gathered(shared[0].weight.grad)).sum(dim=0)
    assert torch.allclose(weight, plain[0].weight.grad, atol=1e-4)
    WholeBatchNorm().revert(shared)
    assert type(shared[0]) is nn.BatchNorm2d
    assert torch.equal(shared.eval()(images), shared.eval()(images))


def _alone(work: Callable[[], T]) -> T:
    """What one process gives."""
    group, ranks._here.group = ranks._here.group, None
    try:
        return work()
    finally:
        ranks._here.group = group


def _fails() -> None:
    raise UserError("told by the first")


def test_alone_nothing_is_shared() -> None:
    assert ranks.is_first()
    assert not ranks.started_together()
    assert (ranks.rank(), ranks.size(), list(ranks.share(range(5)))) == (0, 1, [0, 1, 2, 3, 4])
    assert ranks.first(lambda: 3) == 3
    assert ranks.gathered(3) == [3]
    assert ranks.relative(torch.tensor(3.0)) == 1.0
    ranks.part()


def test_a_sweep_is_refused() -> None:
    with pytest.raises(UserError, match="trainer=ddp does not work within a sweep"):
        ranks.enter(TOGETHER, in_sweep=True)
    assert not ranks.started_together()


@pytest.mark.parametrize(
    ("environment", "first", "together"),
    [
        ({}, True, False),
        ({"LOCAL_RANK": "1"}, False, True),  # started by the first
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False, True),  # torchrun, second machine
        ({"RANK": "0", "LOCAL_RANK": "0"}, True, True),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, False, True),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, True, False),  # one task: nothing was started yet
    ],
)
def test_who_is_first_is_known_before_they_meet(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], first: bool, together: bool
) -> None:
    for name in (*ranks.RANKS, "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks._here, "expected", True)
    assert (ranks.is_first(), ranks.started_together()) == (first, together)
    ranks.enter({"strategy": "auto"}, in_sweep=False)  # another kind of job, such as one task of an array
    assert (ranks.is_first(), ranks.started_together()) == (True, False)
