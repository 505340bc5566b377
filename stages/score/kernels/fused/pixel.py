"""One image of a pixel network: every temperature from one pass over its logits, row by row."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.counting.bins import add_above, place
from logitpipe.stages.score.kernels.counting.counts import Counts, add_waiting, make_waiting
from logitpipe.stages.score.kernels.counting.picking import every_block, make_picked, pick
from logitpipe.stages.score.kernels.fused.pixel_ranks import (
    ROWS,
    count_infinite,
    make_ranks,
    make_row,
    prepare,
    rank_maxlogit,
    temper,
)
from logitpipe.stages.score.kernels.resampling import Axis, make_rows, sample_row


@entry
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
    height, width = labels.shape
    held, stretched = make_rows(channels.size, width)
    # z begins with zeros, as `count_infinite` also reads what lies behind the width of the image.
    z, room, blocks = np.zeros_like(stretched[0]), make_row(channels.size, classes, width), make_picked(width)
    ranks, damaged = make_ranks(width), 0
    waiting, filled, wanted = make_waiting(slots.size, width), 0, (slots >= 0).T.copy()
    for y in range(height):
        sample_row(logits, channels, y, axes, held, stretched, z)
        damaged += count_infinite(z)
        picked = pick(labels[y], blocks)
        # Only after the check above: damage is also found in rows that have no pixel to score.
        if picked.starts.size == 0:
            continue
        row, lowest = prepare(z, picked.starts, room)
        # Emptied before a row is placed and never within one: all scores have the same number of places waiting.
        if filled + row.top.size > waiting.shape[1]:
            add_waiting(waiting, filled, slots.reshape(-1), counts)
            filled = 0
        rank_maxlogit(row.top, ranks)
        for t in range(temperatures.size):
            temper(row, lowest, temperatures[t], wanted[t], ranks)
            for kind in range(ROWS):
                slot = slots[kind, t]
                if slot >= 0:
                    places = waiting[kind * temperatures.size + t][filled:]
                    place(ranks[kind], picked.labels, layouts[kind], places)
                    add_above(ranks[kind], picked.labels, thresholds[slot], above[slot])
        filled += row.top.size
    add_waiting(waiting, filled, slots.reshape(-1), counts)
    return damaged


@entry
def rank_band(
    logits: Array,
    channels: Array,
    classes: int,
    temperatures: Array,
    axes: tuple[Axis, Axis],
    start: int,
    labels: Array,
    slots: Array,
    ranks: Array,
    picked_labels: Array,
) -> tuple[int, int]:
    """Write the ranks of some rows of an image at every temperature, blocks of ignored pixels left out.

    Parameters
    ----------
    logits, channels, classes, temperatures, axes : as for `count_pixels`
    start : the first row
    labels : uint8 (rows, W), from that row on
    slots : int64 (ROWS, t), to which row of `ranks` each score goes; -1 where nobody asked. MAXLOGIT uses column 0
    ranks : float32 (m, at least rows * apart(W)), written
    picked_labels : uint8 of the same length, written: what each rank is of

    Returns
    -------
    how many ranks there are of each score, and how many logits are not finite
    """
    height, width = labels.shape
    held, stretched = make_rows(channels.size, width)
    z, room, blocks = np.zeros_like(stretched[0]), make_row(channels.size, classes, width), make_picked(width)
    of_row, damaged, filled, wanted = make_ranks(width), 0, 0, (slots >= 0).T.copy()
    for y in range(height):
        picked = pick(labels[y], blocks)
        if picked.starts.size == 0:
            continue
        sample_row(logits, channels, start + y, axes, held, stretched, z)
        damaged += count_infinite(z)
        row, lowest = prepare(z, picked.starts, room)
        n = row.top.size
        rank_maxlogit(row.top, of_row)
        for t in range(temperatures.size):
            temper(row, lowest, temperatures[t], wanted[t], of_row)
            for kind in range(ROWS):
                if slots[kind, t] >= 0:
                    widen(of_row[kind][:n], ranks[slots[kind, t]][filled : filled + n])
        picked_labels[filled : filled + n] = picked.labels
        filled += n
    return filled, damaged


@kernel
def copy_to(source: Array, target: Array) -> None:
    """Copy numbers: float32 (n,) each; a loop of its own is faster than an assignment between slices."""
    for i in range(source.size):
        target[i] = source[i]


@entry
def rank_pixels(
    logits: Array, channels: Array, classes: int, T: np.float32, axes: tuple[Axis, Axis], wanted: Array, ranks: Array
) -> int:
    """Write the ranks of one image at one temperature; return the number of logits that are not finite.

    Parameters
    ----------
    logits, channels, classes, axes : as for `count_pixels`
    T : temperature
    wanted : bool (ROWS,), which ranks are written
    ranks : float32 (ROWS, H, W)
    """
    height, width = ranks.shape[1:]
    held, stretched = make_rows(channels.size, width)
    z, room, every = np.zeros_like(stretched[0]), make_row(channels.size, classes, width), every_block(width)
    of_row, damaged = make_ranks(width), 0
    for y in range(height):
        sample_row(logits, channels, y, axes, held, stretched, z)
        damaged += count_infinite(z)
        row, lowest = prepare(z, every, room)
        rank_maxlogit(row.top, of_row)
        temper(row, lowest, T, wanted, of_row)
        for kind in range(ROWS):
            if wanted[kind]:
                widen(of_row[kind][:width], ranks[kind, y])
    return damaged
