"""Put whole groups into bins of chosen size, stratified by class: outer folds, val parts and inner folds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 40  # partitions to choose from; fewer for many groups, which balance by themselves
TURNS = 5  # rounds of draws, each noisier than the last, before giving up


def group_counts(
    group: NDArray[np.object_], target: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the number of each row's group, (N,), and the samples of each class in each group, (G, K)."""
    names, member = np.unique(group.astype(str), return_inverse=True)
    counts = np.zeros((len(names), classes), dtype=np.int64)
    np.add.at(counts, (member, target), 1)
    return member, counts


def partition(counts: NDArray[np.int64], proportions: Sequence[float], spare: int, seed: int) -> NDArray[np.int64] | None:
    """Put whole groups into bins so that each bin is near its proportion of every class.

    Place groups from large to small, each where the squared deviation from the proportions grows least (as scikit-learn's
    StratifiedGroupKFold does). That alone gives few groups of unlike sizes the same bins for every seed. Therefore add noise
    to order and choice, draw several partitions, and return one of the best balanced. The noise grows from draw to draw and
    from round to round, which also finds partitions that a search for balance alone misses.

    Args:
        counts: samples of each class in each group, (G, K).
        proportions: of the bins, summing to one, (B,).
        spare: groups of each class that must stay outside each bin.
        seed: of the draws.

    Returns:
        The bin of each group, (G,), with every class in every bin; None if no such partition was found.

    Example:
        Four groups with two images of each class, in two bins of equal size:

        >>> bins = partition(np.full((4, 2), 2), [0.5, 0.5], spare=1, seed=0)
        >>> np.bincount(bins).tolist()
        [2, 2]

        A class in one group only cannot be in both bins:

        >>> partition(np.array([[2, 1], [2, 0]]), [0.5, 0.5], spare=1, seed=0) is None
        True
    """
    rng = np.random.default_rng(seed)
    shares = counts / counts.sum(axis=0)
    sizes = np.asarray(proportions)
    draws = max(3, min(DRAWS, 20_000 // len(counts)))
    for turn in range(TURNS):
        noise = 0.5 * (1 + turn + np.arange(draws) / draws)
        bins, loads = _placed(shares, sizes, rng, noise)
        inside = np.array([[((counts > 0) & (row == b)[:, None]).sum(axis=0) for b in range(len(sizes))] for row in bins])
        feasible = (inside > 0).all(axis=(1, 2)) & (inside.sum(axis=1, keepdims=True) - inside >= spare).all(axis=(1, 2))
        if feasible.any():
            deviation = ((loads - sizes[:, None]) ** 2 / sizes[:, None]).sum(axis=(1, 2))
            ordered = np.argsort(np.where(feasible, deviation, np.inf), kind="stable")
            best: NDArray[np.int64] = bins[ordered[rng.integers(max(1, int(feasible.sum()) // 4))]]
            return best
    return None


def _placed(
    shares: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator, noise: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Place groups greedily, once per noise strength (D,).

    Returns:
        The bins of the groups, (D, G), and the class shares of the bins, (D, B, K).
    """
    weight, draws = shares.mean(axis=1), np.arange(len(noise))
    drawn = [(rng.normal(size=len(weight)), rng.normal(size=(len(weight), len(sizes)))) for _ in draws]
    order = np.argsort(-weight * np.exp(noise[:, None] * [positions for positions, _ in drawn]), axis=1, kind="stable")
    # A group much smaller than its bin needs no noise to get into any bin, only a draw between equals.
    strength = np.maximum(noise[:, None] * np.minimum(1, weight / sizes.min()), 1e-9)
    blur = np.exp(strength[:, :, None] * [choices for _, choices in drawn])
    bins = np.empty((len(noise), len(weight)), dtype=np.int64)
    loads = np.zeros((len(noise), len(sizes), shares.shape[1]))
    for group in order.T:  # of each draw
        share = shares[group]
        cost = (2 * np.einsum("dbk,dk->db", loads, share) + np.square(share).sum(axis=1, keepdims=True)) / sizes
        chosen = np.argmin(cost * blur[draws, group], axis=1)
        bins[draws, group] = chosen
        loads[draws, chosen] += share
    return bins, loads
