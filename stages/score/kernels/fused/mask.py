"""One image of a mask network at one temperature, row by row: no map of K classes ever exists at its size."""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting.picking import Picked, make_picked, pick
from logitpipe.stages.score.kernels.fused.mask_ranks import Row, finish, make_row
from logitpipe.stages.score.kernels.fused.sinks import Sink, deliver, empty, keep_labels, make_space
from logitpipe.stages.score.kernels.resampling import Axis, hold_rows, make_rows


class Room(NamedTuple):
    """Memory that one row after another is computed in.

    Parameters
    ----------
    every : int64 (P,), all planes
    held, stretched : of `make_rows`
    row, picked : of `make_row` and `make_picked`
    """

    every: Array
    held: Array
    stretched: Array
    row: Row
    picked: Picked


def score_masks(planes: Array, classes: int, axes: tuple[Axis, Axis], labels: Array, sink: Sink) -> int:
    """Score one image, or some rows of it, at one temperature; return how many ranks were kept of each score.

    Parameters
    ----------
    planes : float32 (P, h, w), as for `finish`
    classes : K
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    sink : of (ROWS, 1) slots
    """
    width = labels.shape[1]
    held, stretched = make_rows(len(planes), width)
    room = Room(np.arange(len(planes)), held, stretched, make_row(width), make_picked(width))
    return int(_score_rows(planes, classes, axes, labels, room, sink))


@entry
def _score_rows(planes: Array, classes: int, axes: tuple[Axis, Axis], labels: Array, room: Room, sink: Sink) -> int:
    filled = 0
    for y in range(labels.shape[0]):
        picked = pick(labels[y], room.picked)
        # Rows may be skipped: `hold_rows` finds by itself which source rows it lacks.
        if picked.starts.size == 0:
            continue
        hold_rows(planes, room.every, y, axes, room.held, room.stretched)
        first, weight = axes[0][0][y], axes[0][1][y]
        ranks = finish(room.stretched, first, weight, classes, picked.starts, sink.wanted[0], room.row)
        # Never within a row: all scores have the same number of places waiting.
        filled = make_space(sink, filled, picked.labels.size)
        deliver(ranks, 0, picked.labels, filled, sink)
        keep_labels(picked.labels, filled, sink)
        filled += picked.labels.size
    empty(sink, filled)
    return filled
