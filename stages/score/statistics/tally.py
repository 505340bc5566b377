"""Tally: counts of all pairs of a plan over some images, in memory that is taken up only where scores fall."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import cast

import numpy as np

from logitpipe.stages.score.figures import image_counts as of_images
from logitpipe.stages.score.figures.image_counts import MOST_JOINED, Joined
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.counting.counts import Counts, add_counts, drain, fill, filled
from logitpipe.stages.score.kernels.counting.laid import Laid, points
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.ordered import Scores, scores_from
from logitpipe.stages.streams import in_parallel

ORDERED = "ordered_"
"""Before the names of arrays of single pixels' scores."""


TYPICAL_BINS = 330_000
"""Number of bins that real scores of one pair fill (20 binary orders of magnitude), once for both classes."""


PAIR_BYTES = 2 * TYPICAL_BINS * (np.dtype(np.uint8).itemsize + np.dtype(np.uint32).itemsize)
"""About how much memory the counts of one pair take up once they are filled."""


@dataclass
class Tally:
    """Counts of all pairs of a plan over some images (see `statistics.Total`).

    Parameters
    ----------
    plan : what is counted
    counts : of (pairs, places), the flat histograms of `counting.count`; of (places,), one histogram after another,
        where bins were laid
    above : int64 (pairs, thresholds, 2), normal and anomalous pixels that reach each threshold
    images : number of images counted
    pixels : int64 (2,), normal and anomalous pixels counted
    by_image : where single images are wanted, by the index of each a small histogram of each pair
    scratch : where they are wanted, the counts of the image at hand, empty between images
    values : where a protocol takes the mean over images, by the index of each that has both classes, its pixels and
        its figures: float64 (pairs, 2 + n), see `single_images.image_values`
    scores : of single pixels; None unless they are put in order
    laid : the bins of each pair; None where they are those of its scale
    """

    plan: Plan
    counts: Counts
    above: np.ndarray
    images: int
    pixels: np.ndarray
    by_image: dict[int, list[Joined]] = field(default_factory=dict)
    scratch: Counts | None = None
    values: dict[int, np.ndarray] = field(default_factory=dict)
    scores: Scores | None = None
    laid: tuple[Laid, ...] | None = None

    @classmethod
    def zero(cls, plan: Plan, laid: tuple[Laid, ...] | None = None) -> "Tally":
        """Return the tally of no image."""
        # Laid bins differ in number from pair to pair, and the most would be too many for all.
        shape = (
            (sum(map(_places, laid)),) if laid else (len(plan.pairs), max(map(_places, map(plan.bins, plan.pairs))))
        )
        counts = Counts(untouched(shape, np.dtype(np.uint8)), untouched(shape, np.dtype(np.uint32)))
        above = np.zeros((len(plan.pairs), len(plan.thresholds), 2), np.int64)
        return cls(plan, counts, above, 0, np.zeros(2, np.int64), laid=laid)

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
        self.by_image |= other.by_image
        self.values |= other.values
        if self.scores is not None and other.scores is not None:
            self.scores.add(other.scores)

    def of_pair(self, pair: int) -> Counts:
        """Return the histogram of a pair, not a copy."""
        if self.laid is None:
            return Counts(self.counts.low[pair], self.counts.carries[pair])
        part = slice(self._starts[pair], self._starts[pair + 1])
        return Counts(self.counts.low[part], self.counts.carries[part])

    @cached_property
    def _starts(self) -> list[int]:
        """Where the histogram of each pair starts in those of laid bins, and where the last ends."""
        return [0, *accumulate(map(_places, self.laid or ()))]

    def bins(self, pair: int) -> Bins | Laid:
        """Return the bins of a pair."""
        return self.laid[pair] if self.laid else self.plan.bins(self.plan.pairs[pair])

    def drain(self, pair: int) -> Joined:
        """Move the counts of the image at hand to those of all images, and return them in small form."""
        scratch, bins = cast(Counts, self.scratch), self.plan.bins(self.plan.pairs[pair])
        own = Counts(scratch.low[pair], scratch.carries[pair])
        return Joined(*drain(own, self.of_pair(pair), bins.count, int(bins.layout[3]), MOST_JOINED))

    def curve(self, pair: int) -> Curve:
        """Return what the figures of a pair are computed from."""
        bins, chosen = self.bins(pair), self.plan.pairs[pair]
        if isinstance(bins, Laid):
            found, p, n, tied, edges = points(self.of_pair(pair), bins.table, bins.layout)
            return Curve(found, p, n, tied | self.plan.single_valued(chosen, edges), edges)
        found, p, n = filled(self.of_pair(pair), bins.count)
        edges = bins.lower_edges(found)
        # Whether the pixels of a bin share one score is not known, unless there is only one of them.
        return Curve(found, p, n, (p + n == 1) | self.plan.single_valued(chosen, edges), edges)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the filled bins alone, the pairs one after the other.

        Returns
        -------
        sizes : int64 (pairs,), filled bins of each
        steps : uint32 (n,), from each bin down to the next; the first from the number of bins
        anomalous, normal : uint32 or, where a count needs it, uint64 (n,)
        above, images, pixels : as they are
        valued, values : indices of images and float64 (images, pairs, n), see `values`
        of_images ... : the histograms of single images, see `image_counts.to_arrays`
        ordered ... : the scores of single pixels, see `ordered.Scores.to_arrays`
        """
        counts = [self.bins(pair).count for pair in range(len(self.plan.pairs))]
        found = [filled(self.of_pair(pair), count) for pair, count in enumerate(counts)]
        steps = [-np.diff(bins, prepend=count) for (bins, _, _), count in zip(found, counts, strict=True)]
        return {
            "sizes": np.array([bins.size for bins, _, _ in found]),
            "steps": np.concatenate(steps).astype(np.uint32),
            "anomalous": _narrow(np.concatenate([p for _, p, _ in found])),
            "normal": _narrow(np.concatenate([n for _, _, n in found])),
            "above": self.above,
            "images": np.array(self.images),
            "pixels": self.pixels,
            "valued": np.array(list(self.values), np.int64),
            "values": np.array(list(self.values.values()), np.float64),
            **of_images.to_arrays(self.by_image, len(self.plan.pairs)),
            **({} if self.scores is None else self.scores.to_arrays(ORDERED)),
        }

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the filled bins alone: a tally spans all scores that float32 can hold."""
        return tally_from_arrays, (self.plan, self.to_arrays(), self.laid)


def _places(bins: Bins | Laid) -> int:
    """Return the length of a histogram: both classes, and one place for what is ignored."""
    return 2 * bins.count + 1


def tally_from_arrays(plan: Plan, arrays: Mapping[str, np.ndarray], laid: tuple[Laid, ...] | None = None) -> Tally:
    """Return the tally of `Tally.to_arrays`; ValueError where the arrays are those of another plan."""
    tally, ends = Tally.zero(plan, laid), np.cumsum(arrays["sizes"])
    if ends.size != len(plan.pairs) or ends[-1] != arrays["steps"].size or arrays["above"].shape != tally.above.shape:
        raise ValueError(f"a tally of {len(plan.pairs)} pairs was expected, one of {ends.size} was found")
    for i, (end, size) in enumerate(zip(ends, arrays["sizes"], strict=True)):
        part, count = slice(end - size, end), tally.bins(i).count
        bins = count - np.cumsum(arrays["steps"][part], dtype=np.int64)
        # The arrays may come from a file or another machine, and kernels do not check indices.
        if size and not 0 <= bins[-1] <= bins[0] < count:
            raise ValueError(f"bins from 0 to {count - 1} were expected, {bins[-1]} to {bins[0]} were found")
        fill(tally.of_pair(i), bins + count, arrays["anomalous"][part].astype(np.int64))
        fill(tally.of_pair(i), bins, arrays["normal"][part].astype(np.int64))
    tally.above[...] = arrays["above"]
    tally.images, tally.pixels = int(arrays["images"]), arrays["pixels"].astype(np.int64)
    tally.values = dict(zip(arrays["valued"].tolist(), arrays["values"], strict=True))
    tally.by_image = of_images.from_arrays(arrays)
    if f"{ORDERED}scores" in arrays:
        tally.scores = scores_from(arrays, 2 * len(plan.pairs), ORDERED)
    return tally


def _narrow(counts: np.ndarray) -> np.ndarray:
    """Return counts in the smaller type that holds them."""
    return counts.astype(np.uint32 if counts.size == 0 or counts.max() < 1 << 32 else np.uint64)


def untouched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
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
