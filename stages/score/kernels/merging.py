"""Columns and rows of windows onto those of a picture, weighted and added."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel


@entry
def add_columns(planes: Array, row: int, base: Array, weights: Array, is_shift: bool, out: Array, at: Array) -> None:
    """Add some rows of a window, each target column mixed of neighbouring ones.

    Parameters
    ----------
    planes : (P, h, w), float32 or patterns of float16, see `arithmetic.widen`
    row : the first of them
    base : int64 (n,), for each target column the first of the t neighbouring columns that it is mixed of
    weights : float32 (t, n), their weights
    is_shift : whether each column of `base` is the one before and 1, so that no column has to be looked up
    out : float32 (P, H, W), added to
    at : int64 (3,), where in `out` the first row and the first column go, and how many rows
    """
    room, (top, left, rows) = np.empty(planes.shape[2], np.float32), at
    for p in range(planes.shape[0]):
        for y in range(rows):
            widen(planes[p, row + y], room)
            _add_mixed(room, base, weights, is_shift, out[p, top + y, left : left + base.size])


@kernel
def _add_mixed(row: Array, base: Array, weights: Array, is_shift: bool, out: Array) -> None:
    """Add to float32 (n,) what is mixed of a row: float32 (w,)."""
    taps, n = weights.shape[0], base.size
    if taps == 2 and not is_shift:
        a, b = weights[0], weights[1]
        for x in range(n):
            out[x] += a[x] * row[base[x]] + b[x] * row[base[x] + 1]
    elif taps == 3 and not is_shift:
        a, b, c = weights[0], weights[1], weights[2]
        for x in range(n):
            out[x] += a[x] * row[base[x]] + b[x] * row[base[x] + 1] + c[x] * row[base[x] + 2]
    else:
        for t in range(taps):
            share = weights[t]
            if is_shift:
                part = row[base[0] + t : base[0] + t + n]
                for x in range(n):
                    out[x] += share[x] * part[x]
            else:
                for x in range(n):
                    out[x] += share[x] * row[base[x] + t]


@entry
def mix_rows(planes: Array, base: Array, weights: Array, out: Array) -> None:
    """Write rows that are mixed of neighbouring ones: float32 (P, h, n) to (P, m, n); base (m,), weights (t, m)."""
    for p in range(planes.shape[0]):
        for y in range(base.size):
            target = out[p, y]
            _write_scaled(planes[p, base[y]], weights[0, y], target)
            for t in range(1, weights.shape[0]):
                _add_scaled(planes[p, base[y] + t], weights[t, y], target)


@kernel
def _write_scaled(row: Array, share: np.float32, out: Array) -> None:
    for x in range(out.size):
        out[x] = share * row[x]


@kernel
def _add_scaled(row: Array, share: np.float32, out: Array) -> None:
    for x in range(out.size):
        out[x] += share * row[x]
