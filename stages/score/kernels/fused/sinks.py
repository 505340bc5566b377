"""Where the ranks of an image go: counted in histograms, or kept side by side.

One kernel does both, for each kind of network. Two would hold the same code twice, and each would take seconds to
compile.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, kernel
from logitpipe.stages.score.kernels.counting.bins import add_above, place_row
from logitpipe.stages.score.kernels.counting.counts import WAITING, Counts, add
from logitpipe.stages.score.kernels.vectors import LANES, apart


class Sink(NamedTuple):
    """What becomes of ranks.

    Parameters
    ----------
    slots : int64 (rows of the ranks, t), the histogram or the row of `kept` that each goes to; -1 where nobody asked
    wanted : bool (t, rows of the ranks), whether anybody asked
    layouts : int32 (rows of the ranks, 5), `Bins.layout` of each
    counts : of (pairs, 2 * bins + 1), added to
    thresholds : float32 (pairs, m), ranks
    above : int64 (pairs, m, 2), added to
    waiting : uint32 (rows of the ranks * t, places), room for places before they are counted
    kept : float32 (m, n), written where ranks are kept; (0, 0) where they are counted
    labels : uint8 (n,), written: what each kept rank is of
    """

    slots: Array
    wanted: Array
    layouts: Array
    counts: Counts
    thresholds: Array
    above: Array
    waiting: Array
    kept: Array
    labels: Array


def counted(slots: Array, layouts: Array, counts: Counts, thresholds: Array, above: Array, width: int) -> Sink:
    """Return the sink that counts the ranks of rows of an image; fields as in `Sink`."""
    waiting = np.empty((slots.size, max(WAITING, apart(width))), np.uint32)
    nothing = np.empty((0, 0), np.float32), np.empty(0, np.uint8)
    return Sink(slots, _wanted(slots), layouts, counts, thresholds, above, waiting, *nothing)


def kept(slots: Array, rows: int, width: int) -> Sink:
    """Return the sink that keeps the ranks of rows of an image, blocks of ignored pixels left out."""
    n = rows * -(-width // LANES) * LANES
    ranks = np.empty((int(slots.max()) + 1, n), np.float32)
    nothing = Counts(np.empty((0, 0), np.uint8), np.empty((0, 0), np.uint32))
    thresholds, above = np.empty((0, 0), np.float32), np.empty((0, 0, 0), np.int64)
    layouts, waiting = np.empty((0, 0), np.int32), np.empty((0, 0), np.uint32)
    return Sink(slots, _wanted(slots), layouts, nothing, thresholds, above, waiting, ranks, np.empty(n, np.uint8))


def _wanted(slots: Array) -> Array:
    return np.ascontiguousarray((slots >= 0).T)


def whole_rows(sink: Sink, width: int) -> Array:
    """Return what was kept of rows without ignored pixels: float32 (m, rows, width)."""
    return sink.kept.reshape(len(sink.kept), -1, -(-width // LANES) * LANES)[:, :, :width]


@kernel
def make_space(sink: Sink, filled: int, more: int) -> int:
    """Return where the ranks of more pixels go; if there is no room for their places, what waits is counted."""
    if sink.kept.size > 0 or filled + more <= sink.waiting.shape[1]:
        return filled
    empty(sink, filled)
    return 0


@kernel
def empty(sink: Sink, filled: int) -> None:
    """Count the places of several rows of pixels, one histogram after another.

    The histograms of a sweep are larger than the caches of a core: with one row at a time each would come anew from
    far away for a few pixels.
    """
    if sink.kept.size > 0:
        return
    count = sink.slots.shape[1]
    for score in range(sink.slots.shape[0]):
        for t in range(count):
            slot = sink.slots[score, t]
            if slot >= 0:
                add(sink.waiting[score * count + t][:filled], sink.counts.low[slot], sink.counts.carries[slot])


@kernel
def deliver(ranks: Array, t: int, labels: Array, filled: int, sink: Sink) -> None:
    """Hand on the ranks of some pixels of a row at one temperature.

    Parameters
    ----------
    ranks : float32 (rows of the ranks, n or more)
    t : index of the temperature
    labels : uint8 (n,)
    filled : of `make_space`
    """
    n, count = labels.size, sink.slots.shape[1]
    for score in range(sink.slots.shape[0]):
        slot = sink.slots[score, t]
        if slot < 0:
            continue
        if sink.kept.size > 0:
            widen(ranks[score][:n], sink.kept[slot][filled : filled + n])
        else:
            place_row(ranks, score, labels, sink.layouts, sink.waiting, score * count + t, filled)
            if sink.thresholds.shape[1] > 0:
                add_above(ranks[score], labels, sink.thresholds[slot], sink.above[slot])


@kernel
def keep_labels(labels: Array, filled: int, sink: Sink) -> None:
    """Write what the next kept ranks are of."""
    if sink.kept.size > 0:
        for i in range(labels.size):
            sink.labels[filled + i] = labels[i]
