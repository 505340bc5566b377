"""Windows of an image onto one canvas: each plane resampled along both axes, weighted, and added."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.resampling import Axis


@entry
def add_window(
    planes: Array, rows: Axis, base: Array, weights: Array, is_shift: bool, left: int, out: Array, top: int
) -> None:
    """Add some rows of a window to a canvas.

    Parameters
    ----------
    planes : (P, h, w), float32 or patterns of float16, see `arithmetic.widen`
    rows : for each of m canvas rows the row of `planes` before it and the share of the next
    base : int64 (n,), for each canvas column the first of the t neighbouring columns that it is mixed of
    weights : float32 (t, n), their weights
    is_shift : whether each column of `base` is the one before and 1, so that no column has to be looked up
    left, top : where in `out` the first column and the first row go
    out : float32 (P, H, W), added to
    """
    first, weight = rows
    n, last = base.size, planes.shape[1] - 1
    # As in `resampling.hold_rows`: neighbouring rows differ in parity, and each is stretched once.
    held, stretched = np.full(2, -1), np.zeros((2, planes.shape[0], n), np.float32)
    room = np.empty(planes.shape[2], np.float32)
    for y in range(first.size):
        above, below = first[y], min(first[y] + 1, last)
        if held[above % 2] != above:
            _mix_columns(planes, above, base, weights, is_shift, room, stretched[above % 2])
            held[above % 2] = above
        if weight[y] != 0 and held[below % 2] != below:
            _mix_columns(planes, below, base, weights, is_shift, room, stretched[below % 2])
            held[below % 2] = below
        for p in range(planes.shape[0]):
            _add_between(
                stretched[above % 2, p], stretched[below % 2, p], weight[y], out[p, top + y, left : left + n]
            )


@kernel
def _mix_columns(planes: Array, y: int, base: Array, weights: Array, is_shift: bool, room: Array, out: Array) -> None:
    """Write row `y` of all planes, each canvas column mixed of neighbouring ones: float32 (P, n)."""
    n = base.size
    for p in range(planes.shape[0]):
        widen(planes[p, y], room)
        target = out[p]
        target[:] = 0
        for t in range(weights.shape[0]):
            share = weights[t]
            if is_shift:
                part = room[base[0] + t : base[0] + t + n]
                for x in range(n):
                    target[x] += share[x] * part[x]
            else:
                for x in range(n):
                    target[x] += share[x] * room[base[x] + t]


@kernel
def _add_between(above: Array, below: Array, weight: np.float32, out: Array) -> None:
    """Add what lies between two rows: float32 (n,) each."""
    if weight == 0:
        for x in range(out.size):
            out[x] += above[x]
    else:
        for x in range(out.size):
            out[x] += above[x] + weight * (below[x] - above[x])
