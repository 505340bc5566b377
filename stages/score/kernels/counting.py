"""Scores into integer histograms whose bins are fixed beforehand and keep the order of the scores.

A bin is a range of float32 bit patterns: sign, exponent and the top bits of the mantissa. Counts are integers,
so histograms of any tiling, order and number of workers add up to the same figures.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.score.kernels.arithmetic import as_int
from stages.score.kernels.compiled import Array, kernel

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


class Counts(NamedTuple):
    """Histograms whose count of a bin is `low + CARRY * carries`.

    Bytes are a quarter of what whole counts would be, so that those of a sweep stay in the caches. A bin that holds
    anything has `low` above 0: whoever looks for filled bins need not look at the carries.

    Parameters
    ----------
    low : uint8 (places,), or (pairs, places)
    carries : uint32, of the same shape
    """

    low: Array
    carries: Array


CARRY = np.uint8(128)
STRETCH = 256
"""Bins that are looked over together for a filled one."""


@kernel
def count(scores: Array, labels: Array, layout: Array, places: Array, counts: Counts) -> None:
    """Add scores to a histogram of (places,): `place` and then `add`."""
    place(scores, labels, layout, places)
    add(places, counts.low, counts.carries)


@kernel
def place(scores: Array, labels: Array, layout: Array, places: Array) -> None:
    """Find where scores are counted.

    Parameters
    ----------
    scores : float32 (n,), ranks
    labels : uint8 (n,), NORMAL, ANOMALY or IGNORED
    layout : `Bins.layout`
    places : uint32 (n,), written: normal bins, then anomaly bins, then one place for what is ignored
    """
    drop, low_negative, low_positive, below, above = layout[0], layout[1], layout[2], layout[3], layout[4]
    bins = below + above + np.int32(1)
    for i in range(scores.size):
        pattern = as_int(scores[i])
        magnitude = (pattern & np.int32(0x7FFFFFFF)) >> drop
        down = min(max(magnitude - low_negative, np.int32(0)), below)
        up = min(max(magnitude - low_positive, np.int32(0)), above)
        found = below + (up if pattern >= np.int32(0) else -down) + np.int32(labels[i]) * bins
        places[i] = np.uint32(found if labels[i] < IGNORED else bins + bins)


@kernel
def add(places: Array, low: Array, carries: Array) -> None:
    """Count places of `place` in a histogram: `Counts.low` and `Counts.carries` of (2 * bins + 1,)."""
    for i in range(places.size):
        raised = np.uint8(low[places[i]] + np.uint8(1))
        if raised == 0:
            raised = CARRY
            carries[places[i]] += np.uint32(1)
        low[places[i]] = raised


@kernel
def add_waiting(waiting: Array, bands: int, slots: Array, counts: Counts) -> None:
    """Count the places of several bands, one histogram after another.

    The histograms of a sweep are larger than the caches of a core: with one band at a time each would come anew from
    far away for a few pixels.

    Parameters
    ----------
    waiting : uint32 (scores, bands, n), places
    bands : how many of them are filled
    slots : int64 (scores,), where each score is counted; -1 where it is not
    counts : of (pairs, 2 * bins + 1), added to
    """
    for score in range(slots.size):
        if slots[score] >= 0:
            for band in range(bands):
                add(waiting[score, band], counts.low[slots[score]], counts.carries[slots[score]])


@kernel
def add_counts(total: Counts, other: Counts) -> None:
    """Add one histogram of (places,) to another."""
    for start in range(0, other.low.size, STRETCH):
        part = other.low[start : start + STRETCH]
        if any_filled(part):
            for place in start + np.flatnonzero(part):
                low = np.int64(total.low[place]) + np.int64(other.low[place])
                carries = np.int64(low >= 256) + np.int64(low >= 256 + CARRY)
                total.low[place] = low - carries * CARRY
                if carries + other.carries[place] > 0:  # or memory that holds nothing would be taken up
                    total.carries[place] += np.uint32(other.carries[place] + carries)


@kernel
def filled(counts: Counts, bins: int) -> tuple[Array, Array, Array]:
    """Return the filled bins of a histogram, by falling score, and what they hold.

    Returns
    -------
    found, anomalous, normal : int64 (n,), indices of bins and their pixels
    """
    normal_low, anomalous_low = counts.low[:bins], counts.low[bins : 2 * bins]
    normal_carries, anomalous_carries = counts.carries[:bins], counts.carries[bins : 2 * bins]
    size = count_filled(normal_low, anomalous_low)
    found, anomalous, normal = np.empty((3, size + 1), np.int64)
    for start in range(0, bins, STRETCH):
        stop = min(start + STRETCH, bins)
        if any_filled(normal_low[start:stop]) or any_filled(anomalous_low[start:stop]):
            for i in range(start, stop):  # an empty bin is written over by the next: cheaper than to foresee it
                found[size] = i
                normal[size] = normal_low[i] + np.int64(CARRY) * normal_carries[i]
                anomalous[size] = anomalous_low[i] + np.int64(CARRY) * anomalous_carries[i]
                size -= (normal_low[i] | anomalous_low[i]) > 0
    return found[1:], anomalous[1:], normal[1:]


@kernel
def count_filled(normal_low: Array, anomalous_low: Array) -> int:
    """Return how many bins hold a pixel."""
    size = 0
    for i in range(normal_low.size):
        size += (normal_low[i] | anomalous_low[i]) > 0
    return size


@kernel
def any_filled(low: Array) -> bool:
    """Return whether any of some bins holds a pixel; most stretches hold none."""
    held = np.uint8(0)
    for i in range(low.size):
        held = np.uint8(held | low[i])
    return bool(held > 0)


@kernel
def count_above(scores: Array, labels: Array, thresholds: Array, above: Array) -> None:
    """Count the scores that reach each threshold, exactly.

    Parameters
    ----------
    scores : float32 (n,), ranks
    labels : uint8 (n,)
    thresholds : float32 (m,), ranks
    above : int64 (m, 2), added to: normal and anomaly
    """
    for t in range(thresholds.size):
        for i in range(scores.size):
            if labels[i] < IGNORED and scores[i] >= thresholds[t]:
                above[t, labels[i]] += 1
