"""One image of a mask network at one temperature, band by band: no map of K classes ever exists at its size."""

import numpy as np

from stages.score.kernels.compiled import Array, kernel
from stages.score.kernels.counting import all_ignored, count_above, place
from stages.score.kernels.counts import Counts, add_waiting
from stages.score.kernels.mask_ranks import ROWS, WORK_ROWS, finish
from stages.score.kernels.resampling import Axis, sample_band

BAND = 2048
"""Pixels that are finished together; their planes fit into the second-level cache."""
BANDS = 16
"""Bands whose places are found before they are added to the histograms."""


@kernel
def scratch(planes: int, rows: int, width: int) -> tuple[Array, Array, Array]:
    """Return room for a band of pixels: planes by row, work and ranks."""
    n = rows * width
    z, work = np.empty((planes, rows, width), np.float32), np.empty((WORK_ROWS, n), np.float32)
    return z, work, np.empty((ROWS, n), np.float32)


@kernel
def count_masks(
    planes: Array,
    classes: int,
    axes: tuple[Axis, Axis],
    labels: Array,
    slots: Array,
    layouts: Array,
    counts: Counts,
    thresholds: Array,
    above: Array,
) -> None:
    """Count the scores of one image at one temperature.

    Parameters
    ----------
    planes : float32 (P, h, w), as for `finish`
    classes : K
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    slots : int64 (ROWS,), where each score is counted; -1 where it is not
    layouts, counts, thresholds, above : as for `kernels.pixel.count_pixels`
    """
    rows, columns = axes
    height, width = labels.shape
    every = np.arange(planes.shape[0])
    step, filled = min(height, max(1, BAND // width)), 0
    held, stretched = np.full(2, -1), np.empty((2, planes.shape[0], width), np.float32)
    z, work, ranks = scratch(planes.shape[0], step, width)
    waiting = np.empty((ROWS, BANDS, step * width), np.uint32)
    for start in range(0, height, step):
        stop = min(start + step, height)
        if stop - start < step:  # the last band; parts of arrays would not be contiguous
            add_waiting(waiting, filled, slots, counts)
            z, work, ranks = scratch(planes.shape[0], stop - start, width)
            waiting, filled = np.empty((ROWS, 1, ranks.shape[1]), np.uint32), 0
        band = labels[start:stop].reshape(-1)
        if all_ignored(band):
            continue
        sample_band(planes, every, start, stop, rows, columns, held, stretched, z)
        finish(z.reshape(every.size, ranks.shape[1]), classes, work, ranks)
        for row in range(ROWS):
            if slots[row] >= 0:
                place(ranks[row], band, layouts[row], waiting[row, filled])
                count_above(ranks[row], band, thresholds[slots[row]], above[slots[row]])
        filled += 1
        if filled == waiting.shape[1]:
            add_waiting(waiting, filled, slots, counts)
            filled = 0
    add_waiting(waiting, filled, slots, counts)


@kernel
def rank_masks(planes: Array, classes: int, axes: tuple[Axis, Axis], ranks: Array) -> None:
    """Write the ranks of one image at one temperature, the rows that `planes` hold: float32 (ROWS, H, W)."""
    rows, columns = axes
    height, width = ranks.shape[1:]
    every = np.arange(planes.shape[0])
    held, stretched = np.full(2, -1), np.empty((2, planes.shape[0], width), np.float32)
    z, work, _ = scratch(planes.shape[0], 1, width)
    for y in range(height):
        sample_band(planes, every, y, y + 1, rows, columns, held, stretched, z)
        finish(z.reshape(every.size, width), classes, work, ranks[:, y])
