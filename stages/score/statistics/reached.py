"""Pixels whose scores reach thresholds, a set of thresholds for each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import count_above
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.streams import in_parallel


@dataclass
class ReachedCounts:
    """Pixels that reach thresholds (see `statistics.Total`).

    Parameters
    ----------
    counts : int64 (pairs, thresholds, 2), normal and anomalous pixels
    images : how many images have been added
    """

    counts: np.ndarray
    images: int = 0

    def add(self, other: "ReachedCounts") -> None:
        """Add those of other images."""
        self.counts += other.counts
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return both as they are."""
        return {"counts": self.counts, "images": np.array(self.images)}


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

    def zero(self) -> ReachedCounts:
        """See `Statistic`."""
        return ReachedCounts(np.zeros((*self.thresholds.shape, 2), np.int64))

    def of_image(self, picture: Picture, total: ReachedCounts, threads: int = 1) -> None:
        """Count all pairs; threads share an image by its temperatures."""

        def count(pairs: Sequence[int]) -> None:
            for pair, scores, labels in picture.score_bands(self.plan, pairs, picture.labels):
                count_above(scores, labels, self.thresholds[pair], total.counts[pair])

        # Threads take different pairs, and so different rows of the total.
        in_parallel(count, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ReachedCounts:
        """See `Statistic`."""
        expected = self.zero().counts.shape
        if arrays["counts"].shape != expected:
            raise ValueError(f"counts of {expected} were expected, {arrays['counts'].shape} were found")
        return ReachedCounts(arrays["counts"].astype(np.int64), int(arrays["images"]))

    def finish(self, total: ReachedCounts) -> np.ndarray:
        """Return the counts: int64 (pairs, n, 2)."""
        return total.counts
