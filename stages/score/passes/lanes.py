"""How workers share the memory of tallies: each image is counted into one of a few, its temperatures side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from logitpipe.stages.score.passes.tally import Tally
from logitpipe.stages.score.plan import Plan

TALLY_BYTES = 512 << 20
"""What all tallies may take up together; one is made in any case."""


class Lanes:
    """As many tallies as memory allows, at most one for each worker, and the parts that an image is counted in.

    Parameters
    ----------
    plan : what is counted
    workers : threads that count
    """

    def __init__(self, plan: Plan, workers: int) -> None:
        self.workers, first = workers, Tally.zero(plan)
        self.count = max(1, min(workers, TALLY_BYTES // max(1, first.expected_bytes())))
        self.parts = split(plan, -(-workers // self.count))
        self._free: SimpleQueue[Tally] = SimpleQueue()
        for tally in [first, *(Tally.zero(plan) for _ in range(self.count - 1))]:
            self._free.put(tally)

    @contextmanager
    def tally(self) -> Iterator[Tally]:
        """Lend a tally, waiting until one is free."""
        tally = self._free.get()
        try:
            yield tally
        finally:  # also after a failure: who waits for a tally must not wait for ever
            self._free.put(tally)

    def total(self) -> Tally:
        """Return the sum of all tallies, once nobody counts any more."""
        total = self._free.get()
        for _ in range(self.count - 1):
            total.add(self._free.get(), self.workers)
        return total


def split(plan: Plan, parts: int) -> list[list[int]]:
    """Divide the pairs by temperature into so many parts, or fewer; no part repeats the exponentials of another."""
    temperatures = list(dict.fromkeys(pair.temperature for pair in plan.pairs))
    groups = [temperatures[i::parts] for i in range(min(parts, len(temperatures)))]
    return [[i for i, pair in enumerate(plan.pairs) if pair.temperature in group] for group in groups]
