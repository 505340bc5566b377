"""Columns and rows of windows onto those of a picture, weighted and added."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel

LEAST_TAPS = 3
"""Rows that are mixed in one pass over them."""


@entry
def join_columns(planes: Array, row: int, base: Array, weights: Array, is_shift: bool, out: Array, at: Array) -> None:
    """Write some rows of a window, each target column mixed of neighbouring ones; or add to what others have written.

    Parameters
    ----------
    planes : (P, h, w), float32 or patterns of float16, see `arithmetic.widen`
    row : the first of them
    base : uint32 (n,), for each target column the first of the t neighbouring columns that it is mixed of
    weights : float32 (t, n), their weights
    is_shift : whether each column of `base` is the one before and 1, so that no column has to be looked up
    out : float32 (P, H, W)
    at : int64 (4,), where in `out` the first row and column go, how many rows, and up to which column others have
        written already: there it is added, elsewhere written
    """
    room, mixed = np.empty(planes.shape[2], np.float32), np.empty(base.size, np.float32)
    top, left, rows, written = at
    both = min(max(0, written - left), base.size)
    for p in range(planes.shape[0]):
        for y in range(rows):
            widen(planes[p, row + y], room)
            target = out[p, top + y, left : left + base.size]
            _mix_columns(room, base[:both], weights, is_shift, 0, mixed)
            for x in range(both):
                target[x] += mixed[x]
            _mix_columns(room, base[both:], weights, is_shift, both, target[both:])


@kernel
def _mix_columns(row: Array, base: Array, weights: Array, is_shift: bool, start: int, out: Array) -> None:
    """Write what is mixed of a row, float32 (w,), by weights from `start` on: base (n,), out float32 (n,) or more."""
    taps, n = weights.shape[0], base.size
    # Unsigned, or numba tests each position for being counted from the end.
    one, two = np.uint32(1), np.uint32(2)
    if taps == 2 and not is_shift:
        a, b = weights[0, start:], weights[1, start:]
        for x in range(n):
            out[x] = a[x] * row[base[x]] + b[x] * row[base[x] + one]
    elif taps == 3 and not is_shift:
        a, b, c = weights[0, start:], weights[1, start:], weights[2, start:]
        for x in range(n):
            out[x] = a[x] * row[base[x]] + b[x] * row[base[x] + one] + c[x] * row[base[x] + two]
    else:
        for x in range(n):
            out[x] = 0
        for t in range(taps):
            share = weights[t, start:]
            if is_shift and n > 0:
                first = np.int64(base[0]) + t
                part = row[first : first + n]
                for x in range(n):
                    out[x] += share[x] * part[x]
            else:
                for x in range(n):
                    out[x] += share[x] * row[base[x] + np.uint32(t)]


@entry
def mix_rows(planes: Array, sources: Array, weights: Array, places: Array) -> None:
    """Write rows of planes that are mixed of other rows of theirs.

    Parameters
    ----------
    planes : float32 (P, h, w)
    sources : int64 (m, t), which rows each is mixed of, LEAST_TAPS or more
    weights : float32 (m, t), their weights
    places : int64 (m,), where each goes
    """
    for p in range(planes.shape[0]):
        for i in range(places.size):
            row, share = sources[i], weights[i]
            target = planes[p, places[i]]
            _mix_three(planes[p, row[0]], planes[p, row[1]], planes[p, row[2]], share, target)
            for t in range(LEAST_TAPS, row.size):
                # Rows differ in how many they are mixed of.
                if share[t] > 0:
                    _add_scaled(planes[p, row[t]], share[t], target)


@kernel
def _mix_three(first: Array, second: Array, third: Array, share: Array, out: Array) -> None:
    a, b, c = share[0], share[1], share[2]
    for x in range(out.size):
        out[x] = a * first[x] + b * second[x] + c * third[x]


@kernel
def _add_scaled(row: Array, share: np.float32, out: Array) -> None:
    for x in range(out.size):
        out[x] += share * row[x]
