"""Integer histograms: how they are kept, raised, added up and read.

Counts are integers, so histograms of any tiling, order and number of workers add up to the same figures.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, kernel


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
WAITING = 1 << 15
"""Places of each score that wait to be counted together, or those of one row where that is longer."""
STRETCH = 256
"""Number of bins that `any_filled` checks at once."""


@kernel
def add(places: Array, low: Array, carries: Array) -> None:
    """Count an even number of places of `counting.place` in a histogram.

    They are fetched in twos: how many numbers a processor can fetch is what limits this loop.

    Parameters
    ----------
    places : uint32 (n,)
    low, carries : `Counts` of (2 * bins + 1,), added to
    """
    for two in places.view(np.uint64):
        for at in (np.int64(two & np.uint64(0xFFFFFFFF)), np.int64(two >> np.uint64(32))):
            low[at] += np.uint8(1)
            # 256 is CARRY + 1 * CARRY: a byte that overflows goes back to CARRY, as 0 would mean an empty bin.
            if low[at] == 0:
                low[at] = CARRY
                carries[at] += np.uint32(1)


@entry
def add_counts(total: Counts, other: Counts) -> None:
    """Add one histogram of (places,) to another."""
    for start in range(0, other.low.size, STRETCH):
        part = other.low[start : start + STRETCH]
        if any_filled(part):
            for i in start + np.flatnonzero(part):
                low = np.int64(total.low[i]) + np.int64(other.low[i])
                # Carried only until `low` fits a byte: it must not reach 0, which would mean an empty bin.
                carries = np.int64(low >= 256) + np.int64(low >= 256 + CARRY)
                total.low[i] = low - carries * CARRY
                if carries + other.carries[i] > 0:  # or memory that holds nothing would be taken up
                    total.carries[i] += np.uint32(other.carries[i] + carries)


@entry
def fill(counts: Counts, places: Array, numbers: Array) -> None:
    """Write numbers above 0, int64 (n,), into places, int64 (n,), of an empty histogram."""
    for i in range(places.size):
        if numbers[i] > 0:  # or memory that holds nothing would be taken up
            carries = numbers[i] // np.int64(CARRY) - 1 if numbers[i] >= 256 else 0
            counts.low[places[i]] = numbers[i] - carries * np.int64(CARRY)
            if carries > 0:
                counts.carries[places[i]] = carries


@entry
def filled(counts: Counts, bins: int) -> tuple[Array, Array, Array]:
    """Return the filled bins of a histogram, by falling score, and what they hold.

    Returns
    -------
    found, anomalous, normal : int64 (n,), indices of bins and their pixels
    """
    normal_low, anomalous_low = counts.low[:bins], counts.low[bins : 2 * bins]
    normal_carries, anomalous_carries = counts.carries[:bins], counts.carries[bins : 2 * bins]
    found, anomalous, normal = np.empty((3, bins + 1), np.int64)  # memory that is not written to is none
    size = 0
    for start in range((bins - 1) // STRETCH * STRETCH, -1, -STRETCH):
        stop = min(start + STRETCH, bins)
        if any_filled(normal_low[start:stop]) or any_filled(anomalous_low[start:stop]):
            for i in range(stop - 1, start - 1, -1):  # an empty bin is written over by the next
                found[size] = i
                normal[size] = normal_low[i] + np.int64(CARRY) * normal_carries[i]
                anomalous[size] = anomalous_low[i] + np.int64(CARRY) * anomalous_carries[i]
                size += (normal_low[i] | anomalous_low[i]) > 0
    return found[:size], anomalous[:size], normal[:size]


@kernel
def raise_place(low: Array, carries: Array, place: int, number: int) -> None:
    """Add a number to one place of a histogram."""
    raised = np.int64(low[place]) + number
    more = raised // np.int64(CARRY) - 1 if raised >= 256 else 0
    low[place] = raised - more * np.int64(CARRY)
    if more > 0:  # or memory that holds nothing would be taken up
        carries[place] += np.uint32(more)


@entry
def drain(own: Counts, total: Counts, bins: int, zero: int, most: int) -> tuple[int, Array, Array, Array]:
    """Add one image's histogram to that of all images, empty it, and return it with neighbouring bins joined.

    Parameters
    ----------
    own, total : histograms of (places,), the first one left empty but for its place of ignored pixels
    bins : how many bins there are
    zero : the bin of zero, from which joined bins are counted
    most : how many joined bins there may be, about

    Returns
    -------
    shift : 2**shift neighbours are joined
    joined, anomalous, normal : int32 (n,), the filled ones by falling score and their pixels
    """
    found, anomalous, normal = np.empty((3, bins + 1), np.int64)  # memory that is not written to is none
    size = 0
    for start in range((bins - 1) // STRETCH * STRETCH, -1, -STRETCH):
        stop = min(start + STRETCH, bins)
        if any_filled(own.low[start:stop]) or any_filled(own.low[bins + start : bins + stop]):
            for i in range(stop - 1, start - 1, -1):
                n = own.low[i] + np.int64(CARRY) * own.carries[i]
                p = own.low[bins + i] + np.int64(CARRY) * own.carries[bins + i]
                if n > 0:
                    raise_place(total.low, total.carries, i, n)
                    own.low[i] = 0
                    # Writing 0 where 0 stands would take up memory that holds nothing.
                    if own.carries[i] > 0:
                        own.carries[i] = 0
                if p > 0:
                    raise_place(total.low, total.carries, bins + i, p)
                    own.low[bins + i] = 0
                    if own.carries[bins + i] > 0:
                        own.carries[bins + i] = 0
                if n + p > 0:
                    found[size], anomalous[size], normal[size] = i - zero, p, n
                    size += 1
    # >> rounds down below zero too, so the joined bins of a larger shift are unions of those of a smaller one:
    # images with different shifts can still be brought to the same bins.
    shift, kept = -1, most + 1
    while kept > most:
        shift, kept = shift + 1, 0
        for i in range(size):
            kept += i == 0 or found[i] >> shift != found[i - 1] >> shift
    joined, P, N = np.zeros((3, kept), np.int32)
    at = -1
    for i in range(size):
        if i == 0 or found[i] >> shift != found[i - 1] >> shift:
            at += 1
            joined[at] = found[i] >> shift
        P[at] += anomalous[i]
        N[at] += normal[i]
    return shift, joined, P, N


@kernel
def any_filled(low: Array) -> bool:
    """Return whether any of some bins holds a pixel; most stretches hold none."""
    held = np.uint8(0)
    for i in range(low.size):
        held = np.uint8(held | low[i])
    return bool(held > 0)
