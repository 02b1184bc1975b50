"""How long a job still takes, from the folds that are finished."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence


class Remaining:
    """Counts down the missing folds, named by the title of their model.

    A fold takes as long as the finished ones of its model took on average, and as many are worked on at a time as were so far.
    Models of which no fold is finished are left out: those with the most work come first.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        self.total, self.done, self.started = len(titles), 0, time.perf_counter()
        self.waiting = Counter(titles)
        self.took = defaultdict[str, list[float]](list)

    def finished(self, title: str, seconds: float) -> None:
        """One fold less."""
        self.done += 1
        self.waiting[title] -= 1
        self.took[title].append(seconds)

    @property
    def seconds(self) -> float:
        """From now on."""
        at_once = max(1.0, sum(map(sum, self.took.values())) / max(time.perf_counter() - self.started, 1e-9))
        return sum(self.waiting[title] * sum(took) / len(took) for title, took in self.took.items()) / at_once
