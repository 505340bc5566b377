"""Pixels whose scores reach thresholds, a set of thresholds for each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import count_above
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.score.statistics import ArrayTotal
from logitpipe.stages.streams import in_parallel


@dataclass(frozen=True)
class Reached:
    """Pixels of each pair of a plan that reach its thresholds, counted exactly (see `statistics.Statistic`).

    Parameters
    ----------
    plan : its pairs
    thresholds : float32 (pairs, n), ranks, or shares of 0..1 where a protocol pools these
    """

    plan: Plan
    thresholds: np.ndarray

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return 16 * self.thresholds.size

    def zero(self) -> ArrayTotal:
        """Return counts of (pairs, thresholds, 2), normal and anomalous pixels."""
        return ArrayTotal(np.zeros((*self.thresholds.shape, 2), np.int64))

    def of_image(self, picture: Picture, total: ArrayTotal, threads: int = 1) -> None:
        """Count all pairs; threads share an image by its temperatures."""

        def count(pairs: Sequence[int]) -> None:
            for pair, scores, labels in picture.score_bands(self.plan, pairs, picture.labels):
                count_above(scores, labels, self.thresholds[pair], total.counts[pair])

        # Threads take different pairs, and so different rows of the total.
        in_parallel(count, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ArrayTotal:
        """See `Statistic`."""
        return self.zero().like(arrays)

    def finish(self, total: ArrayTotal) -> np.ndarray:
        """Return the counts: int64 (pairs, n, 2)."""
        return total.counts
