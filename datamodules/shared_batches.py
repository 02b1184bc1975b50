"""Batches of one shuffled order, each shared by the processes that work together."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from experiment.core import ranks


class SharedBatches(Sampler[list[int]]):
    """Batches of row numbers in a new random order each epoch; several processes draw the same one.

    So there are as many steps, on the same rows, as in one process. Shares are of equal size; where the only batch cannot be
    divided, the rows left over wait for another epoch's order.

    Args:
        rows: N.
        batch_size: of the whole batch.
        drop_last: whether to leave out an incomplete last batch.
    """

    def __init__(self, rows: int, batch_size: int, drop_last: bool) -> None:
        self.rows, self.batch_size, self.drop_last = rows, batch_size, drop_last

    def __len__(self) -> int:
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        drawn = int(
            torch.empty((), dtype=torch.int64).random_()
        )  # by every process, so that their random numbers stay in step
        order = torch.Generator().manual_seed(ranks.first(lambda: drawn))
        rows = torch.randperm(self.rows, generator=order).tolist()
        for batch in range(len(self)):
            yield list(ranks.even_share(rows[batch * self.batch_size : (batch + 1) * self.batch_size]))
