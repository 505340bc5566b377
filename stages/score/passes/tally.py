"""The state of a run: integer counts with a zero and a sum, small enough to have one for each worker."""

import mmap
from dataclasses import dataclass
from math import prod

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.kernels.counts import Counts, add_counts, filled
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.streams import in_parallel

TYPICAL_BINS = 330_000
"""Bins that real scores of one pair fill, both classes together counted once: 20 binary orders of magnitude."""


@dataclass
class Tally:
    """Counts of all pairs of a plan over some images. Tallies of disjoint images add up to that of all of them.

    Parameters
    ----------
    counts : of (pairs, places), the flat histograms of `counting.count`
    above : int64 (pairs, thresholds, 2), normal and anomalous pixels that reach each threshold
    images : number of images counted
    pixels : int64 (2,), normal and anomalous pixels counted
    """

    counts: Counts
    above: np.ndarray
    images: int
    pixels: np.ndarray

    @classmethod
    def zero(cls, plan: Plan) -> "Tally":
        """Return the tally of no image."""
        shape = len(plan.pairs), max(2 * plan.bins(pair).count + 1 for pair in plan.pairs)
        counts = Counts(_untouched(shape, np.dtype(np.uint8)), _untouched(shape, np.dtype(np.uint32)))
        above = np.zeros((len(plan.pairs), len(plan.thresholds), 2), np.int64)
        return cls(counts, above, 0, np.zeros(2, np.int64))

    def expected_bytes(self) -> int:
        """Return about how much memory the counts take up once they are filled."""
        return len(self.counts.low) * 2 * TYPICAL_BINS * sum(part.itemsize for part in self.counts)

    def add_image(self, labels: np.ndarray) -> None:
        """Note that an image with these labels has been counted."""
        self.images += 1
        self.pixels += np.bincount(labels.reshape(-1), minlength=2)[:2]

    def add(self, other: "Tally", workers: int = 1) -> None:
        """Add the tally of other images of the same plan; so many threads share its pairs."""
        in_parallel(lambda pair: add_counts(self.of_pair(pair), other.of_pair(pair)), range(len(self.above)), workers)
        self.above += other.above
        self.images += other.images
        self.pixels += other.pixels

    def of_pair(self, pair: int) -> Counts:
        """Return the histogram of a pair, not a copy."""
        return Counts(self.counts.low[pair], self.counts.carries[pair])

    def curve(self, plan: Plan, pair: int) -> Curve:
        """Return what the figures of a pair are computed from."""
        return Curve(*filled(self.of_pair(pair), plan.bins(plan.pairs[pair]).count))


def lost(store: Store, images: int) -> PipeError:
    """Return the error to raise where counts are not those of all pixels of so many images."""
    return PipeError(
        f"{store.path}: the counts are not those of all pixels of all {images} images: a worker has failed "
        "without a word. No figures were computed; call the same command again"
    )


def _untouched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return zeros that take up memory only where they are written.

    A histogram spans all scores that float32 can hold and real scores fill a small part of it. NumPy asks for
    huge pages where it allocates much, and shared memory is filled by reading it too; either way the small part
    becomes all of it.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, dtype.itemsize * prod(shape), **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)
