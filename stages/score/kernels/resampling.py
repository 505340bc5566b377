"""Bilinear resampling as networks do it: pixel centres aligned, corners not, no smoothing when it shrinks."""

import numpy as np

from stages.score.kernels.arithmetic import widen
from stages.score.kernels.compiled import Array, kernel

Axis = tuple[np.ndarray, np.ndarray]
"""For each target position the source position before it and the share of the one after."""


def axis_weights(source: int, target: int) -> Axis:
    """Return where each target position lies among the source positions.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` has it.

    Parameters
    ----------
    source, target : numbers of positions

    Returns
    -------
    first : int64 (target,), the source position before; the one after is the next, where there is one
    weight : float32 (target,), the share of the one after
    """
    scale = np.float32(source) / np.float32(target)
    centre = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    first = np.minimum(centre.astype(np.int64), source - 1)
    weight = (centre - first).astype(np.float32)
    weight[first == source - 1] = 0
    return first, weight


@kernel
def stretch_row(planes: Array, chosen: Array, y: int, columns: Axis, out: Array) -> None:
    """Resample row `y` of the chosen planes along x: (C, h, w) as `widen` has it to float32 (P, width)."""
    first, weight = columns
    width, last = first.size, planes.shape[2] - 1
    row = np.empty(planes.shape[2], np.float32)
    for p in range(chosen.size):
        target = out[p]
        if width == row.size:
            widen(planes[chosen[p], y], target)
        else:
            widen(planes[chosen[p], y], row)
            for x in range(width):
                a, b = row[first[x]], row[min(first[x] + 1, last)]
                target[x] = a + weight[x] * (b - a)


@kernel
def blend(above: Array, below: Array, weight: np.float32, out: Array) -> None:
    """Blend two stretched rows: float32 (width,) each."""
    for x in range(out.size):
        out[x] = above[x] + weight * (below[x] - above[x])


@kernel
def sample_row(
    planes: Array,
    chosen: Array,
    y: int,
    rows: Axis,
    columns: Axis,
    held: Array,
    stretched: Array,
    row: int,
    out: Array,
) -> None:
    """Sample row `y` of the target grid.

    Parameters
    ----------
    planes : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    chosen : int64 (P,), which planes
    y : target row
    rows, columns : `axis_weights` of both axes
    held : int64 (2,), the source rows that `stretched` holds (-1: none), kept from call to call
    stretched : float32 (2, P, width), kept from call to call: each source row is stretched once
    row : which row of `out` it becomes
    out : float32 (P, rows, width), written
    """
    first, weight = rows
    for source in (first[y], min(first[y] + 1, planes.shape[1] - 1)):
        if held[source % 2] != source:
            stretch_row(planes, chosen, source, columns, stretched[source % 2])
            held[source % 2] = source
    above, below = stretched[first[y] % 2], stretched[(first[y] + 1) % 2]
    for p in range(chosen.size):  # rows one by one: of a part of `out` the compiler would not know that it is dense
        if weight[y] == 0:
            out[p, row] = above[p]
        else:
            blend(above[p], below[p], weight[y], out[p, row])


@kernel
def sample_band(
    planes: Array,
    chosen: Array,
    start: int,
    stop: int,
    rows: Axis,
    columns: Axis,
    held: Array,
    stretched: Array,
    out: Array,
) -> None:
    """Sample rows `start` to `stop` of the target grid, one after another: out is float32 (P, rows, width).

    The other parameters are those of `sample_row`.
    """
    same = columns[0].size == planes.shape[2] and rows[0].size == planes.shape[1]
    for y in range(start, stop):
        if same:
            for p in range(chosen.size):
                widen(planes[chosen[p], y], out[p, y - start])
        else:
            sample_row(planes, chosen, y, rows, columns, held, stretched, y - start, out)
