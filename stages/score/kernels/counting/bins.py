"""Scores into bins that are fixed beforehand and keep the order of the scores.

A bin is a range of float32 bit patterns: sign, exponent and the top bits of the mantissa.
"""

from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, inlined, kernel
from logitpipe.stages.score.kernels.counting.counts import Counts, add
from logitpipe.stages.score.kernels.vectors import as_int

NORMAL, ANOMALY, IGNORED = 0, 1, 2
"""What a pixel is to the metrics; ignored pixels are scored by nobody."""


@dataclass(frozen=True)
class Bins:
    """A division of the float32 numbers into bins, symmetric in form, not in extent.

    Parameters
    ----------
    mantissa_bits : top mantissa bits that a bin keeps; a binary order of magnitude has 2**mantissa_bits bins
    negative : exponents (low, high): magnitudes of negative scores from 2**low up to 2**high are told apart
    positive : the same for positive scores; the two low exponents must be equal

    Smaller magnitudes share the bin of zero, larger ones the outermost bin.
    """

    mantissa_bits: int
    negative: tuple[int, int]
    positive: tuple[int, int]

    @property
    def layout(self) -> np.ndarray:
        """Bits to drop, pattern below the first bin (both signs), and numbers of bins below and above zero."""
        below, above = (((high - low) << self.mantissa_bits) for low, high in (self.negative, self.positive))
        lows = [((low + 127) << self.mantissa_bits) - 1 for low, _ in (self.negative, self.positive)]
        return np.array([23 - self.mantissa_bits, *lows, below, above], np.int32)

    @property
    def count(self) -> int:
        """Number of bins: those below zero, zero, those above."""
        return int(self.layout[3] + 1 + self.layout[4])

    def lower_edges(self, bins: np.ndarray) -> np.ndarray:
        """Return the least score of each of `bins`, as float32; -inf for the outermost bin."""
        drop, low_negative, low_positive, below, _ = (int(n) for n in self.layout)
        offset = bins.astype(np.int64) - below
        positive = ((offset + low_positive) << drop).astype(np.int32).view(np.float32)
        # A negative bin reaches down to the last pattern before the next larger magnitude.
        negative = -((((-offset + low_negative + 1) << drop) - 1).astype(np.int32).view(np.float32))
        zero = -(np.int32(((low_negative + 1) << drop) - 1).view(np.float32))
        edges = np.where(offset > 0, positive, np.where(offset < 0, negative, zero))
        return np.where(bins == 0, np.float32(-np.inf), edges)


@entry
def count(scores: Array, labels: Array, layout: Array, counts: Counts) -> None:
    """Add scores to a histogram of (places,): `place` and then `add`."""
    # `add` takes places in twos; of an odd number the filler counts as an ignored pixel.
    places = np.full(labels.size + labels.size % 2, np.uint32(2 * (layout[3] + 1 + layout[4])))
    place(scores, labels, layout, places)
    add(places, counts.low, counts.carries)


@kernel
def place(scores: Array, labels: Array, layout: Array, places: Array) -> None:
    """Find where scores are counted.

    Parameters
    ----------
    scores : float32 (n,) or longer, ranks
    labels : uint8 (n,), NORMAL, ANOMALY or IGNORED
    layout : `Bins.layout`
    places : uint32 (n,) or longer, written: normal bins, then anomaly bins, then one place for what is ignored
    """
    drop, low, below, above = layout[0], layout[1], layout[3], layout[4]  # the two low exponents are equal
    for i in range(labels.size):
        places[i] = _place(scores[i], labels[i], drop, low, below, above)


@kernel
def place_row(ranks: Array, score: int, labels: Array, layouts: Array, places: Array, row: int, start: int) -> None:
    """Find where the scores of one row of (rows, n) ranks are counted: as `place`, into a row of (rows, m) places.

    A view of each row would be counted by whoever holds it, which takes long beside the few pixels of a row.
    """
    drop, low, below, above = layouts[score, 0], layouts[score, 1], layouts[score, 3], layouts[score, 4]
    # Without a sign: numba tests each signed index for one that counts from the end.
    of, to, first = np.uint64(score), np.uint64(row), np.uint64(start)
    for i in range(np.uint64(labels.size)):
        places[to, first + i] = _place(ranks[of, i], labels[i], drop, low, below, above)


# Arithmetic on int32 gives int64 here, and vectors of half as many numbers, unless each result is made int32 again.
@inlined
def _place(
    score: np.float32, label: np.uint8, drop: np.int32, low: np.int32, below: np.int32, above: np.int32
) -> np.uint32:
    bins = np.int32(below + above + np.int32(1))
    pattern = as_int(score)
    sign = np.int32(pattern >> np.int32(31))
    # A shift that might be longer would be done in 64 bits.
    kept = np.int32(np.int32(pattern & np.int32(0x7FFFFFFF)) >> np.int32(drop & np.int32(31)))
    magnitude = max(np.int32(kept - low), np.int32(0))
    # sign is 0 or -1: this negates without a branch.
    signed = np.int32(np.int32(magnitude ^ sign) - sign)
    found = np.int32(min(max(signed, np.int32(-below)), above) + below)
    # IGNORED is 2: what is ignored falls behind all bins, and goes to the one place there.
    return np.uint32(min(np.int32(found + np.int32(label) * bins), np.int32(bins + bins)))


@entry
def count_above(scores: Array, labels: Array, thresholds: Array, above: Array) -> None:
    """Count the scores that reach each threshold, exactly: `add_above`."""
    add_above(scores, labels, thresholds, above)


@kernel
def add_above(scores: Array, labels: Array, thresholds: Array, above: Array) -> None:
    """Count the scores that reach each threshold, exactly.

    Parameters
    ----------
    scores : float32 (n,) or longer, ranks
    labels : uint8 (n,)
    thresholds : float32 (m,), ranks
    above : int64 (m, 2), added to: normal and anomaly
    """
    for t in range(thresholds.size):
        normal, anomalous = np.int32(0), np.int32(0)  # a row or an image of less than 2**31 pixels
        for i in range(labels.size):
            reached = np.int32(scores[i] >= thresholds[t])
            normal = np.int32(normal + (reached if labels[i] == NORMAL else np.int32(0)))
            anomalous = np.int32(anomalous + (reached if labels[i] == ANOMALY else np.int32(0)))
        above[t, NORMAL] += normal
        above[t, ANOMALY] += anomalous
