"""One image of a mask network at one temperature, row by row: no map of K classes ever exists at its size."""

import numpy as np

from stages.score.kernels.compiled import Array, kernel
from stages.score.kernels.counting import all_ignored, count_above, place
from stages.score.kernels.counts import WAITING, Counts, add_waiting
from stages.score.kernels.mask_ranks import ROWS, finish, make_row
from stages.score.kernels.resampling import Axis, hold_rows, make_rows


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
    height, width = labels.shape
    every, filled = np.arange(planes.shape[0]), 0
    held, stretched = make_rows(planes.shape[0], width)
    row = make_row(width)
    waiting = np.empty((ROWS, max(1, WAITING // width), width), np.uint32)
    for y in range(height):
        if all_ignored(labels[y]):
            continue
        hold_rows(planes, every, y, axes, held, stretched)
        finish(stretched, axes[0][0][y], axes[0][1][y], classes, row)
        for kind in range(ROWS):
            slot = slots[kind]
            if slot >= 0:
                place(row.ranks[kind], labels[y], layouts[kind], waiting[kind, filled])
                count_above(row.ranks[kind], labels[y], thresholds[slot], above[slot])
        filled += 1
        if filled == waiting.shape[1]:
            add_waiting(waiting, filled, slots, counts)
            filled = 0
    add_waiting(waiting, filled, slots, counts)


@kernel
def rank_masks(planes: Array, classes: int, axes: tuple[Axis, Axis], ranks: Array) -> None:
    """Write the ranks of one image at one temperature: float32 (ROWS, H, W), those that `planes` hold."""
    height, width = ranks.shape[1:]
    every = np.arange(planes.shape[0])
    held, stretched = make_rows(planes.shape[0], width)
    row = make_row(width)
    for y in range(height):
        hold_rows(planes, every, y, axes, held, stretched)
        finish(stretched, axes[0][0][y], axes[0][1][y], classes, row)
        ranks[:, y] = row.ranks[:, :width]
