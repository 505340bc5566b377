"""One image of a pixel network: every temperature from one pass over its logits, row by row."""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting.picking import Picked, make_picked, pick
from logitpipe.stages.score.kernels.fused.pixel_ranks import (
    MAXLOGIT,
    Step,
    make_ranks,
    rank_maxlogit,
    sum_family,
    temper,
)
from logitpipe.stages.score.kernels.fused.pixel_rows import MEMBERS, Row, count_infinite, make_row, prepare
from logitpipe.stages.score.kernels.fused.pixel_sums import Families, families
from logitpipe.stages.score.kernels.fused.sinks import Sink, deliver, empty, keep_labels, make_space
from logitpipe.stages.score.kernels.resampling import Axis, make_rows, sample_row


class Room(NamedTuple):
    """Memory that one row after another is computed in.

    Parameters
    ----------
    held, stretched : of `make_rows`
    z : float32 (P, n), the logits of a row, and zeros behind them
    row, picked, ranks : of `make_row`, `make_picked` and `make_ranks`
    """

    held: Array
    stretched: Array
    z: Array
    row: Row
    picked: Picked
    ranks: Array


def score_pixels(
    logits: Array,
    channels: Array,
    classes: int,
    temperatures: Array,
    axes: tuple[Axis, Axis],
    start: int,
    labels: Array,
    sink: Sink,
) -> tuple[int, int]:
    """Score some rows of an image at every temperature.

    Parameters
    ----------
    logits : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    channels : int64 (P,), which of them: the in-distribution classes, then perhaps void
    classes : number of in-distribution classes
    temperatures : float32 (t,)
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    start : the first row
    labels : uint8 (rows, W), from that row on
    sink : of (ROWS, t) slots; MAXLOGIT uses the first column

    Returns
    -------
    how many ranks were kept of each score, and how many logits are not finite; where ranks are kept, logits of rows
    that have no pixel to score are not looked at
    """
    width = labels.shape[1]
    held, stretched = make_rows(channels.size, width)
    row = make_row(channels.size, classes, width)
    # z begins with zeros, as `count_infinite` also reads what lies behind the width of the image.
    room = Room(held, stretched, np.zeros_like(stretched[0]), row, make_picked(width), make_ranks(width))
    shared = families(temperatures)
    filled, damaged = _score_rows(logits, channels, classes, temperatures, shared, axes, start, labels, room, sink)
    return int(filled), int(damaged)


@entry
def _score_rows(
    logits: Array,
    channels: Array,
    classes: int,
    temperatures: Array,
    shared: Families,
    axes: tuple[Axis, Axis],
    start: int,
    labels: Array,
    room: Room,
    sink: Sink,
) -> tuple[int, int]:
    damaged, filled, row, ranks = 0, 0, room.row, room.ranks
    for y in range(labels.shape[0]):
        picked = pick(labels[y], room.picked)
        if picked.starts.size == 0 and sink.kept.size > 0:
            continue
        sample_row(logits, channels, start + y, axes, room.held, room.stretched, room.z)
        damaged += count_infinite(room.z)
        # Only after the check above: damage is also found in rows that have no pixel to score.
        if picked.starts.size == 0:
            continue
        n, lowest = prepare(room.z, picked.starts, row)
        # Never within a row: all scores have the same number of places waiting.
        filled = make_space(sink, filled, n)
        rank_maxlogit(row.top, n, ranks, MAXLOGIT)
        for f in range(shared.bases.size):
            sum_family(row, n, lowest, shared.bases[f], shared.members, f, sink.wanted)
            for k in range(MEMBERS):
                t = shared.members[f, k]
                if t >= 0:
                    step = Step(n, k, temperatures[t], np.float32(1.0) / temperatures[t])
                    temper(row, step, classes, sink.wanted, t, ranks)
                    deliver(ranks, t, picked.labels, filled, sink)
        keep_labels(picked.labels, filled, sink)
        filled += n
    empty(sink, filled)
    return filled, damaged
