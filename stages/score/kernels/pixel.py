"""One image of a pixel network: every temperature from one pass over its logits, band by band."""

import numpy as np

from stages.score.kernels.compiled import Array, kernel
from stages.score.kernels.counting import all_ignored, count_above, place
from stages.score.kernels.counts import Counts, add_waiting
from stages.score.kernels.pixel_ranks import ROWS, WORK_ROWS, prepare, rank_maxlogit, temper
from stages.score.kernels.resampling import Axis, sample_band

BAND = 2048
"""Pixels that are prepared together: their logits fit into the second-level cache."""
BANDS = 16
"""Bands whose places are found before they are added to the histograms."""


@kernel
def scratch(planes: int, rows: int, width: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return room for a band of pixels: planes by row, distances, maxima, gaps, work and ranks."""
    n = rows * width
    z, distance = np.empty((planes, rows, width), np.float32), np.empty((planes, n), np.float32)
    top, gap, work = np.empty(n, np.float32), np.empty(n, np.float32), np.empty((WORK_ROWS, n), np.float32)
    return z, distance, top, gap, work, np.empty((ROWS, n), np.float32)


@kernel
def count_pixels(
    logits: Array,
    channels: Array,
    classes: int,
    temperatures: Array,
    axes: tuple[Axis, Axis],
    labels: Array,
    slots: Array,
    layouts: Array,
    counts: Counts,
    thresholds: Array,
    above: Array,
) -> int:
    """Count the scores of one image at every temperature; return the number of logits that are not finite.

    Parameters
    ----------
    logits : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    channels : int64 (P,), which of them: the in-distribution classes, then perhaps void
    classes : number of in-distribution classes
    temperatures : float32 (t,)
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    slots : int64 (ROWS, t), where each score is counted; -1 where nobody asked. MAXLOGIT uses the first column
    layouts : int32 (ROWS, 5), `Bins.layout` of each row
    counts : of (pairs, 2 * bins + 1), added to
    thresholds : float32 (pairs, m), ranks
    above : int64 (pairs, m, 2), added to
    """
    rows, columns = axes
    height, width = labels.shape
    step, damaged, filled = min(height, max(1, BAND // width)), 0, 0
    held, stretched = np.full(2, -1), np.empty((2, channels.size, width), np.float32)
    z, distance, top, gap, work, ranks = scratch(channels.size, step, width)
    waiting = np.empty((slots.size, BANDS, step * width), np.uint32)
    for start in range(0, height, step):
        stop = min(start + step, height)
        if stop - start < step:  # the last band; parts of arrays would not be contiguous
            add_waiting(waiting, filled, slots.reshape(-1), counts)
            z, distance, top, gap, work, ranks = scratch(channels.size, stop - start, width)
            waiting, filled = np.empty((slots.size, 1, top.size), np.uint32), 0
        band = labels[start:stop].reshape(-1)
        sample_band(logits, channels, start, stop, rows, columns, held, stretched, z)
        broken, lowest = prepare(z.reshape(channels.size, top.size), classes, distance, top, gap)
        damaged += broken
        if all_ignored(band):
            continue
        rank_maxlogit(top, ranks)
        for t in range(temperatures.size):
            temper(distance, lowest, top, gap, classes, temperatures[t], work, ranks)
            for row in range(ROWS):
                slot = slots[row, t]
                if slot >= 0:
                    place(ranks[row], band, layouts[row], waiting[row * temperatures.size + t, filled])
                    count_above(ranks[row], band, thresholds[slot], above[slot])
        filled += 1
        if filled == waiting.shape[1]:
            add_waiting(waiting, filled, slots.reshape(-1), counts)
            filled = 0
    add_waiting(waiting, filled, slots.reshape(-1), counts)
    return damaged


@kernel
def rank_pixels(
    logits: Array, channels: Array, classes: int, T: np.float32, axes: tuple[Axis, Axis], ranks: Array
) -> int:
    """Write the ranks of one image at one temperature; return the number of logits that are not finite.

    Parameters
    ----------
    logits, channels, classes, axes : as for `count_pixels`
    T : temperature
    ranks : float32 (ROWS, H, W), written; the void row only where there is a void channel
    """
    rows, columns = axes
    height, width = ranks.shape[1:]
    held, stretched = np.full(2, -1), np.empty((2, channels.size, width), np.float32)
    z, distance, top, gap, work, _ = scratch(channels.size, 1, width)
    damaged = 0
    for y in range(height):
        sample_band(logits, channels, y, y + 1, rows, columns, held, stretched, z)
        broken, lowest = prepare(z.reshape(channels.size, width), classes, distance, top, gap)
        damaged += broken
        rank_maxlogit(top, ranks[:, y])
        temper(distance, lowest, top, gap, classes, T, work, ranks[:, y])
    return damaged
