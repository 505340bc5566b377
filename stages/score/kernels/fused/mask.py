"""One image of a mask network at one temperature, row by row: no map of K classes ever exists at its size."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting.bins import add_above, place
from logitpipe.stages.score.kernels.counting.counts import Counts, add_waiting, make_waiting
from logitpipe.stages.score.kernels.counting.picking import every_block, make_picked, pick
from logitpipe.stages.score.kernels.fused.mask_ranks import ROWS, finish, make_row
from logitpipe.stages.score.kernels.resampling import Axis, hold_rows, make_rows


@entry
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
    every, (held, stretched) = np.arange(planes.shape[0]), make_rows(planes.shape[0], width)
    room, blocks = make_row(width), make_picked(width)
    waiting, filled, wanted = make_waiting(ROWS, width), 0, slots >= 0
    for y in range(height):
        picked = pick(labels[y], blocks)
        # Rows may be skipped: `hold_rows` finds by itself which source rows it lacks.
        if picked.starts.size == 0:
            continue
        hold_rows(planes, every, y, axes, held, stretched)
        ranks = finish(stretched, axes[0][0][y], axes[0][1][y], classes, picked.starts, wanted, room)
        # Emptied before a row is placed and never within one: all scores have the same number of places waiting.
        if filled + picked.labels.size > waiting.shape[1]:
            add_waiting(waiting, filled, slots, counts)
            filled = 0
        for kind in range(ROWS):
            slot = slots[kind]
            if slot >= 0:
                place(ranks[kind], picked.labels, layouts[kind], waiting[kind][filled:])
                add_above(ranks[kind], picked.labels, thresholds[slot], above[slot])
        filled += picked.labels.size
    add_waiting(waiting, filled, slots, counts)


@entry
def rank_masks(planes: Array, classes: int, axes: tuple[Axis, Axis], wanted: Array, ranks: Array) -> None:
    """Write the wanted ranks of one image at one temperature: bool (ROWS,), float32 (ROWS, H, W)."""
    height, width = ranks.shape[1:]
    every, (held, stretched) = np.arange(planes.shape[0]), make_rows(planes.shape[0], width)
    room, starts = make_row(width), every_block(width)
    for y in range(height):
        hold_rows(planes, every, y, axes, held, stretched)
        of_row = finish(stretched, axes[0][0][y], axes[0][1][y], classes, starts, wanted, room)
        for kind in range(ROWS):
            if wanted[kind]:
                widen(of_row[kind][:width], ranks[kind, y])
