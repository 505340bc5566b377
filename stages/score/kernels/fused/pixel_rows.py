"""Rows of pixel networks: what all temperatures share.

Of each pixel the two largest logits are set apart, and of the other classes stands how far they are below the second
largest. Exponentials relative to the *second* largest logit keep their sum exact where 1 - max softmax has long
rounded to zero.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LOG2E
from logitpipe.stages.score.kernels.compiled import Array, kernel
from logitpipe.stages.score.kernels.vectors import (
    LANES,
    apart,
    as_float,
    as_int,
    greater,
    lanes,
    lesser,
    load,
    splat,
    store,
)

MEMBERS = 3
"""How many temperatures may share their exponentials, see `pixel_sums`: B, B / 2 and B / 4."""

SHRINK, REST, LOG1R, ODDS = range(4)
"""Rows of what is written over at each temperature, see `pixel_ranks`."""
WORK_ROWS = 4


class Row(NamedTuple):
    """Values of the pixels of a row, of C in-distribution classes; n is a multiple of LANES.

    Parameters
    ----------
    distance : float32 (n * (C - 2),), (z_k - m2) log2 e of all but the two largest logits, of LANES pixels together,
        then of the next
    void : float32 (n,), (z_void - m1) log2 e, or (0,) where there is no such plane
    top : float32 (n,), m1
    gap : float32 (n,), (m1 - m2) log2 e
    others, moments : float32 (MEMBERS, n), of `pixel_sums`, written over by each family
    work : float32 (WORK_ROWS, n), written over
    """

    distance: Array
    void: Array
    top: Array
    gap: Array
    others: Array
    moments: Array
    work: Array


def make_row(planes: int, classes: int, width: int) -> Row:
    """Return room for a row of an image; the first planes are the classes, at least two, and another may be void."""
    n = apart(width)
    distance, void = np.empty(n * (classes - 2), np.float32), np.empty(n if planes > classes else 0, np.float32)
    top, gap, sums = np.empty(n, np.float32), np.empty(n, np.float32), np.empty((2, MEMBERS, n), np.float32)
    return Row(distance, void, top, gap, sums[0], sums[1], np.empty((WORK_ROWS, n), np.float32))


@kernel
def prepare(z: Array, starts: Array, row: Row) -> tuple[int, np.float32]:
    """Compute what all temperatures share (largest logits and distances) for some blocks of a row of an image.

    Parameters
    ----------
    z : float32 (P, at least width), logits: planes of the classes, then perhaps one of void
    starts : int64 (m,), where the blocks begin, see `picking`
    row : of `make_row`, written; pixels of the blocks lie side by side

    Returns
    -------
    n : m * LANES
    lowest : the least distance
    """
    others, length = row.distance.size // row.top.size, z.shape[1]
    lowest = splat(np.float32(0.0))
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        x, y = load(z, start), load(z, length + start)
        first, second = greater(x, y), lesser(x, y)
        for k in range(others):
            x = load(z, (k + 2) * length + start)
            # Of each class and the two largest before it the least is none of the two largest of all.
            beside = lesser(x, first)
            first = greater(x, first)
            store(row.distance, to * others + k * LANES, lesser(beside, second))
            second = greater(beside, second)
        for at in range(to * others, (to + LANES) * others, LANES):
            distance = (load(row.distance, at) - second) * LOG2E
            lowest = lesser(lowest, distance)
            store(row.distance, at, distance)
        store(row.top, to, first)
        store(row.gap, to, (first - second) * LOG2E)
        if row.void.size > 0:
            store(row.void, to, (load(z, (others + 2) * length + start) - first) * LOG2E)
    of_lanes, least = lanes(lowest), np.float32(0.0)
    for i in range(LANES):
        least = lesser(least, of_lanes[i])
    return starts.size * LANES, least


@kernel
def count_infinite(z: Array) -> int:
    """Return how many numbers of float32 (P, n) are NaN or infinite; n is a multiple of LANES."""
    zeros = splat(np.int32(0))
    for start in range(0, z.size, LANES):
        x = load(z, start)
        zeros = zeros | as_int(x - x)  # of any finite number 0, of others NaN
    sums, broken, found = lanes(as_float(zeros)), 0, 0
    for i in range(LANES):
        broken += sums[i] != np.float32(0.0)
    if broken > 0:
        for p in range(z.shape[0]):
            for i in range(z.shape[1]):
                found += not np.isfinite(z[p, i])
    return found
