"""Combiners of an ensemble: modules that turn the predictions of several members into one.

The input is probabilities (M, N, K): members, rows, classes. `fit` learns from rows that no member was fitted on; the learned
numbers are buffers, so a checkpoint stores them.

>>> p = torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]], dtype=torch.float64)  # two members, one row, two classes
>>> LogitMean()(p)  # odds of 1 and 9: their geometric mean is 3
tensor([[0.7500, 0.2500]], dtype=torch.float64)
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

EPSILON = 1e-6  # least probability in a logarithm, so that one certain member cannot outvote all others
GRID = 201  # quantiles that ranks are interpolated from


def log_probabilities(p: Tensor) -> Tensor:
    """Return log-probabilities of any shape, bounded below."""
    return p.clamp(EPSILON, 1).log()


class Combiner(nn.Module):
    """Module from the members' probabilities (M, N, K) to combined ones (N, K)."""

    def fit(self, p: Tensor, target: Tensor, weight: Tensor) -> None:
        """Learn from probabilities (M, N, K), class indices (N,) and class weights (K,); learn nothing by default."""


class Mean(Combiner):
    """Arithmetic mean of the members' probabilities."""

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return p.mean(dim=0)


class LogitMean(Combiner):
    """Normalised geometric mean, the mean of the logits (logarithmic opinion pool, Genest & Zidek 1986)."""

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return log_probabilities(p).mean(dim=0).softmax(dim=-1)


class Vote(Combiner):
    """Majority vote: share of members that decide for each class."""

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return nn.functional.one_hot(p.argmax(dim=-1), p.shape[-1]).to(p.dtype).mean(dim=0)


class Weighted(Combiner):
    """Logarithmic opinion pool with learned weights: softmax(sum over members of w_m log p_m).

    The weights are non-negative and minimise the log-loss plus a penalty on their distance to equal weights, which counts like
    ``shrinkage`` rows: with few val rows the result is near the logit mean. The sum of the weights is free, so the pool can
    sharpen or flatten the probabilities.
    """

    def __init__(self, members: int, classes: int, shrinkage: float = 20.0) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.weight: Tensor
        self.register_buffer("weight", torch.full((members,), 1.0 / members, dtype=torch.float64))

    def fit(self, p: Tensor, target: Tensor, weight: Tensor) -> None:
        """Learn one weight per member."""
        log_p = log_probabilities(p.double())
        equal = torch.full_like(self.weight, 1.0 / len(p))

        def loss(members: Tensor) -> Tensor:
            pooled = torch.einsum("m,mnk->nk", members, log_p)
            pull = self.shrinkage * len(p) * (members - equal).square().sum()
            return nn.functional.cross_entropy(pooled, target, weight.double(), reduction="sum") + pull

        self.weight.copy_(_minimise(loss, equal, lower=0.0))

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return torch.einsum("m,mnk->nk", self.weight.to(p.dtype), log_probabilities(p)).softmax(dim=-1)


class Stacking(Combiner):
    """Multinomial logistic regression on the members' log-probabilities (Wolpert 1992), shrunk towards the logit mean."""

    def __init__(self, members: int, classes: int, shrinkage: float = 5.0) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.coefficient: Tensor
        start = torch.eye(classes, dtype=torch.float64).repeat(members, 1) / members
        self.register_buffer("coefficient", torch.cat([start, torch.zeros(1, classes, dtype=torch.float64)]))

    def _scores(self, p: Tensor, coefficient: Tensor) -> Tensor:
        inputs = log_probabilities(p).permute(1, 0, 2).flatten(1)  # (N, M·K)
        return inputs @ coefficient[:-1] + coefficient[-1]

    def fit(self, p: Tensor, target: Tensor, weight: Tensor) -> None:
        """Learn coefficients (M·K + 1, K)."""
        start = self.coefficient.clone()

        def loss(coefficient: Tensor) -> Tensor:
            scores = self._scores(p.double(), coefficient)
            pull = self.shrinkage * (coefficient - start).square().sum()
            return nn.functional.cross_entropy(scores, target, weight.double(), reduction="sum") + pull

        self.coefficient.copy_(_minimise(loss, start))

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return self._scores(p, self.coefficient.to(p.dtype)).softmax(dim=-1)


class Greedy(Combiner):
    """Mean of members selected with replacement, each time the one that lowers the log-loss most (Caruana et al. 2004)."""

    def __init__(self, members: int, classes: int, rounds: int = 50) -> None:
        super().__init__()
        self.rounds = rounds
        self.weight: Tensor
        self.register_buffer("weight", torch.full((members,), 1.0 / members, dtype=torch.float64))

    def fit(self, p: Tensor, target: Tensor, weight: Tensor) -> None:
        """Learn the share of rounds in which each member is selected."""
        of_truth = p.double()[:, torch.arange(len(target)), target]  # (M, N)
        draws, total = torch.zeros_like(self.weight), torch.zeros(len(target), dtype=torch.float64)
        for number in range(1, self.rounds + 1):
            losses = -(((total + of_truth) / number).clamp_min(EPSILON).log() * weight.double()[target]).sum(dim=1)
            best = int(losses.argmin())
            draws[best] += 1
            total = total + of_truth[best]
        self.weight.copy_(draws / self.rounds)

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        return torch.einsum("m,mnk->nk", self.weight.to(p.dtype), p)


class Rank(Combiner):
    """Mean of the members' ranks among the fitted rows, so that only order counts and no member's scale.

    A rank is the class-weighted share of fitted rows with a lower probability, interpolated from `GRID` quantiles.
    """

    def __init__(self, members: int, classes: int) -> None:
        super().__init__()
        self.quantile: Tensor
        grid = torch.linspace(0, 1, GRID, dtype=torch.float64)
        self.register_buffer("quantile", grid.repeat(members, classes, 1))

    def fit(self, p: Tensor, target: Tensor, weight: Tensor) -> None:
        """Learn the quantiles of each member's probabilities of each class, (M, K, GRID)."""
        row_weight = weight.double()[target].numpy()
        for member in range(p.shape[0]):
            for k in range(p.shape[2]):
                values = p[member, :, k].double().numpy()
                order = np.argsort(values, kind="stable")
                below = np.cumsum(row_weight[order]) - row_weight[order] / 2
                at = np.interp(np.linspace(0, 1, GRID), below / row_weight.sum(), values[order])
                self.quantile[member, k] = torch.from_numpy(at)

    def forward(self, p: Tensor) -> Tensor:
        """Combine (M, N, K) to (N, K)."""
        values = p.permute(0, 2, 1).double().contiguous()  # (M, K, N)
        first, beyond = (torch.searchsorted(self.quantile, values, right=right) for right in (False, True))
        # linear between two quantiles; the middle of a run of equal ones
        left, right = (self.quantile.gather(2, at.clamp(0, GRID - 1)) for at in (first - 1, first))
        between = first - 1 + (values - left) / (right - left).clamp_min(torch.finfo(torch.float64).tiny)
        position = torch.where(beyond > first, (first + beyond - 1) / 2, between)
        rank = position.clamp(0.5, GRID - 1.5).div(GRID - 1).mean(dim=0).T
        return (rank / rank.sum(dim=1, keepdim=True)).to(p.dtype)


def _minimise(loss: Callable[[Tensor], Tensor], start: Tensor, lower: float | None = None) -> Tensor:
    """Minimise a smooth convex loss by L-BFGS-B."""

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat).reshape(start.shape).requires_grad_()
        value = loss(point)
        (gradient,) = torch.autograd.grad(value, point)
        return value.item(), gradient.numpy().ravel()

    with torch.enable_grad():
        bounds = None if lower is None else [(lower, None)] * start.numel()
        minimum = minimize(value_and_gradient, start.numpy().ravel(), jac=True, method="L-BFGS-B", bounds=bounds)
    return torch.from_numpy(cast(np.ndarray, minimum.x)).reshape(start.shape)


COMBINERS: dict[str, Callable[[int, int], Combiner]] = {
    "mean": lambda members, classes: Mean(),
    "logit_mean": lambda members, classes: LogitMean(),
    "weighted": Weighted,
    "stacking": Stacking,
    "greedy": Greedy,
    "rank": Rank,
    "vote": lambda members, classes: Vote(),
}
"""Combiners by their name in `model.combiner`; each is built from the numbers of members and of classes."""

NEED_VAL = frozenset({"weighted", "stacking", "greedy", "rank"})
"""Combiners that learn, so they need val rows."""
