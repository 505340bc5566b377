"""One image of a mask network at one temperature, row by row: no map of K classes ever exists at its size."""

from collections.abc import Callable
from typing import NamedTuple

from numba import types
from numba.extending import overload

from logitpipe.stages.score.kernels.compiled import OPTIONS, Array, entry
from logitpipe.stages.score.kernels.counting.picking import Picked, make_picked, pick
from logitpipe.stages.score.kernels.fused import mask_more, mask_ranks
from logitpipe.stages.score.kernels.fused.sinks import Sink, deliver, empty, keep_labels, make_space
from logitpipe.stages.score.kernels.resampling import Axis, hold_rows, make_rows

Row = mask_ranks.Row | mask_more.Row
"""Room for a row of the core, or of other methods."""


class Room(NamedTuple):
    """Memory that one row after another is computed in.

    Parameters
    ----------
    held, stretched : of `make_rows`
    row, picked : of `make_row` and `make_picked`
    """

    held: Array
    stretched: Array
    row: Row
    picked: Picked


def score_masks(
    planes: Array, chosen: Array, classes: int, axes: tuple[Axis, Axis], labels: Array, row: Row, sink: Sink
) -> int:
    """Score one image, or some rows of it, at one temperature; return how many ranks were kept of each score.

    Parameters
    ----------
    planes : float32 (P, h, w)
    chosen : int64 (n,), which of them: as `mask_ranks.finish` or `mask_more.finish_more` wants them
    classes : K, how many of these are classes
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    row : of `make_row` of one or the other: it says which ranks are computed
    sink : of slots for all rows of the ranks, (ROWS, 1) or (CLASS_ROWS + maps, t)
    """
    width = labels.shape[1]
    held, stretched = make_rows(chosen.size, width)
    room = Room(held, stretched, row, make_picked(width))
    return int(_score_rows(planes, chosen, classes, axes, labels, room, sink))


@entry
def _score_rows(
    planes: Array, chosen: Array, classes: int, axes: tuple[Axis, Axis], labels: Array, room: Room, sink: Sink
) -> int:
    filled = 0
    for y in range(labels.shape[0]):
        picked = pick(labels[y], room.picked)
        # Rows may be skipped: `hold_rows` finds by itself which source rows it lacks.
        if picked.starts.size == 0:
            continue
        hold_rows(planes, chosen, y, axes, room.held, room.stretched)
        first, weight = axes[0][0][y], axes[0][1][y]
        # Never within a row: all scores have the same number of places waiting.
        filled = make_space(sink, filled, picked.labels.size)
        for t in range(sink.slots.shape[1]):
            ranks = _finish(room.stretched, first, weight, classes, picked.starts, sink.wanted[t], t, room.row)
            deliver(ranks, t, picked.labels, filled, sink)
        keep_labels(picked.labels, filled, sink)
        filled += picked.labels.size
    empty(sink, filled)
    return filled


def _finish(*_arguments: object) -> Array:
    """Return the ranks of a row: `mask_ranks.finish` or `mask_more.finish_more`, whichever its room is made for."""
    raise NotImplementedError


@overload(_finish, jit_options=OPTIONS, strict=False)
def _finish_of(*kinds: types.NamedTuple) -> Callable[..., Array]:
    return mask_ranks.finish if kinds[-1].instance_class is mask_ranks.Row else mask_more.finish_more
