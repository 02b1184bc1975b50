"""Put whole groups into bins of chosen size, stratified by class: outer folds, val parts and inner folds."""

from collections.abc import Sequence
from itertools import permutations

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
    from round to round, which also finds partitions that a search for balance alone misses. The order of the classes changes
    nothing.

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
    counts = _in_one_order(counts)
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


def even_sizes(bins: NDArray[np.int64], counts: NDArray[np.int64], spare: int) -> NDArray[np.int64]:
    """Make bins in equal proportions differ by one row at most, as far as groups and the balance of classes allow.

    A partition balances each class, but one bin may have the odd row of every class. Move a group from a larger bin to a
    smaller one, or swap two groups, while that brings their sizes closer and their classes no further apart. If each group is
    one row, the sizes end up at most one row apart: of two bins with a larger difference, the larger one has more rows of some
    class.

    Args:
        bins: bin of each group, as `partition` returns them, (G,).
        counts: samples of each class in each group, (G, K).
        spare: groups of each class that must stay outside each bin.

    Returns:
        The bin of each group, (G,).

    Example:
        Three images of each of two classes, each its own group; the first bin has the odd ones of both:

        >>> even_sizes(np.array([0, 0, 1, 0, 0, 1]), np.repeat(np.eye(2, dtype=int), 3, axis=0), spare=1).tolist()
        [0, 0, 1, 1, 0, 1]
    """
    bins, counts = bins.copy(), _in_one_order(counts)
    while change := _change(bins, counts, spare):
        for group, target in change.items():
            bins[group] = target
    return bins


def _in_one_order(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort classes by their counts, not by name: the order of a sum decides its last digit, and that decides ties."""
    return counts[:, np.lexsort(counts)]


def _change(bins: NDArray[np.int64], counts: NDArray[np.int64], spare: int) -> dict[int, int]:
    """Return one or two groups, each with its new bin, that bring sizes closer; empty if there are none."""
    members = [np.flatnonzero(bins == number) for number in range(bins.max() + 1)]
    loads = np.stack([counts[groups].sum(axis=0) for groups in members])
    inside = np.stack([(counts[groups] > 0).sum(axis=0) for groups in members])
    sizes, total, most = loads.sum(axis=1), loads.sum(axis=0), inside.sum(axis=0) - spare
    pairs = [(large, small) for large, small in permutations(range(len(sizes)), 2) if sizes[large] > sizes[small] + 1]
    for large, small in sorted(pairs, key=lambda pair: sizes[pair[1]] - sizes[pair[0]]):
        # Groups with the same counts do the same; a row of zeros stands for no group in return.
        ours, theirs = (members[b][np.unique(counts[members[b]], axis=0, return_index=True)[1]] for b in (large, small))
        there, back = counts[ours][:, None], np.concatenate([counts[theirs], 0 * total[None]])[None]
        net, gap, groups = there - back, loads[large] - loads[small], (there > 0).astype(int) - (back > 0)
        rows, left = net.sum(axis=2), np.stack([inside[large] - groups, inside[small] + groups])
        growth = np.round((net * (net - gap) / total**2).sum(axis=2), 12)  # of the squared deviation from equal shares
        valid = (rows > 0) & (rows < gap.sum()) & (growth <= 0) & ((left > 0) & (left <= most)).all(axis=(0, 3))
        if valid.any():
            rest = np.where(valid, np.abs(gap.sum() - 2 * rows), sizes.sum())  # difference in size that remains
            our, their = np.unravel_index(np.lexsort((growth.ravel(), rest.ravel()))[0], rest.shape)
            return {int(ours[our]): small} | ({int(theirs[their]): large} if their < len(theirs) else {})
    return {}


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
