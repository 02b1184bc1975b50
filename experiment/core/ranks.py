"""Several processes at work on one fold (data parallel): who is who, and what they tell each other.

The first process decides, writes and speaks; the others compute their share. Alone, every function here does nothing, so
other code calls them without asking. A job's processes run the same script. They meet once, before the first fold
(`experiment.run.launching`), and part when all folds are finished (`part`): what comes after is done by the first alone.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from experiment.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
S = TypeVar("S")

PATIENCE = timedelta(days=1)  # others wait while the first fits an SVM; who dies is noticed by the launcher, not by this
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")  # of torchrun, Lightning, srun
STARTED = ("RANK", "LOCAL_RANK", "NODE_RANK")  # by someone else, or by `experiment.run.launching`


@dataclass(frozen=True)
class Group:
    """The processes of this job.

    Attributes:
        rank: number of this process; 0 is the first.
        size: how many there are.
        channel: a gloo group for plain values, whatever tensors travel by: it neither needs a GPU nor loses patience.
    """

    rank: int
    size: int
    channel: Any


class _Here:
    """What this process knows of the others."""

    expected = False  # there are others, or will be
    group: Group | None = None


_here = _Here()


def wanted(trainer: Mapping[str, Any]) -> bool:
    """Whether these arguments of a Trainer ask for several processes a fold (``trainer=ddp``)."""
    return trainer.get("strategy") == "ddp"


def enter(trainer: Mapping[str, Any], in_sweep: bool) -> None:
    """At the start of a job: is it one of several processes?

    Args:
        trainer: arguments of the job's Trainer.
        in_sweep: whether the job is one of several that are compared.

    Raises:
        UserError: both.
    """
    if wanted(trainer) and in_sweep:
        raise UserError(
            "trainer=ddp does not work within a sweep; give each trial a command of its own, or take trainer=auto."
        )
    _here.expected = wanted(trainer)


def started_together() -> bool:
    """Whether the processes of this job were started by now: by torchrun, srun, or the first of them."""
    tasks = int(os.environ.get("SLURM_NTASKS", "1")) if "SLURM_PROCID" in os.environ else 1
    return _here.expected and (tasks > 1 or any(name in os.environ for name in STARTED))


def is_first() -> bool:
    """Whether this process decides, writes and speaks."""
    if _here.group is not None:
        return _here.group.rank == 0
    return not _here.expected or all(os.environ.get(name, "0") == "0" for name in RANKS)


def rank() -> int:
    """Number of this process among those that have met."""
    return _here.group.rank if _here.group else 0


def size() -> int:
    """How many processes have met; 1 alone."""
    return _here.group.size if _here.group else 1


def met() -> None:
    """The processes are connected: from here on the functions below reach all of them."""
    import torch.distributed as dist

    channel = dist.new_group(backend="gloo", timeout=PATIENCE)
    _here.group = Group(dist.get_rank(), dist.get_world_size(), channel)


def part() -> None:
    """All folds are finished: the first goes on alone, the others end here."""
    if _here.group is None:
        return
    import torch.distributed as dist

    wait()
    was_first, _here.group, _here.expected = is_first(), None, False
    dist.destroy_process_group()
    if not was_first:
        sys.exit(0)


def first(work: Callable[[], T]) -> T:
    """What `work` gives in the first process, in all of them. If it fails there, the first tells why and the others end."""
    if _here.group is None:
        return work()
    if _here.group.rank == 0:
        try:
            value = work()
        except Exception:
            _told((False, None))
            raise
        _told((True, value))
        return value
    went_well, received = _told(None)
    if not went_well:
        sys.exit(0)  # not an error of this process: the first ends with it
    result: T = received
    return result


def wait() -> None:
    """Until the first is here. What it has written is there from then on."""
    first(lambda: None)


def _told(value: Any) -> Any:
    import torch.distributed as dist

    assert _here.group is not None
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_here.group.channel)
    return box[0]


def gathered(value: T) -> list[T]:
    """What each process holds, in the order of their ranks, in all of them."""
    if _here.group is None:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * _here.group.size
    dist.all_gather_object(values, value, group=_here.group.channel)
    return values


def divided(items: Sequence[S], work: Callable[[S], T]) -> list[T]:
    """``[work(item) for item in items]``, each item done by one process, all results in all of them."""
    parts = gathered([work(item) for item in items[rank() :: size()]])
    return [parts[place % size()][place // size()] for place in range(len(items))]


def share(rows: Sequence[T]) -> Sequence[T]:
    """The rows of this process: consecutive, together complete, none twice. Fewer rows than processes: all rows for each."""
    if len(rows) < size():
        return rows
    return rows[len(rows) * rank() // size() : len(rows) * (rank() + 1) // size()]


def even_share(rows: Sequence[T]) -> Sequence[T]:
    """The same with as many rows for each, without what is left over."""
    return share(rows[: len(rows) // size() * size()] if len(rows) >= size() else rows)


def own(drawn: Callable[[int], "Tensor"], count: int) -> "Tensor":
    """Random numbers for `count` rows, (count, ...): in each process those that one process would draw for its rows."""
    return drawn(count * size())[count * rank() : count * (rank() + 1)]


def relative(value: "Tensor") -> "Tensor | float":
    """A number divided by its mean over all processes; no gradient goes through it."""
    if _here.group is None:
        return 1.0
    import torch.distributed as dist

    total = value.detach().clone()
    dist.all_reduce(total)
    return value.detach() * _here.group.size / total
