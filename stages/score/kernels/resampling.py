"""Bilinear resampling as networks do it: pixel centres aligned, corners not, no smoothing when it shrinks."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import widen
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.vectors import LANES, apart, greater, load, splat, store, where_greater

STRIP = 4 * LANES
"""Pixels of many planes that are brought together at once."""

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
    # Behind the last source position there is nothing to blend with.
    weight[first == source - 1] = 0
    return first, weight


@kernel
def stretch_row(planes: Array, chosen: Array, y: int, columns: Axis, out: Array) -> None:
    """Resample row `y` of the chosen planes along x: (C, h, w) as `widen` has it to float32 (P, n), n >= width."""
    (first, weight), width, n = columns, columns[0].size, planes.shape[2]
    if is_identity(columns, n):
        for p in range(chosen.size):
            widen(planes[chosen[p], y], out[p, :width])
        return
    # Indices without a sign are not tested for one at each pixel; behind the last position lies the last again.
    before, row = np.empty(width, np.uint32), np.empty(n + 1, np.float32)
    for x in range(width):
        before[x] = first[x]
    for p in range(chosen.size):
        widen(planes[chosen[p], y], row[:n])
        row[n] = row[n - 1]
        _stretch(row, before, weight, out[p, :width])


@kernel
def _stretch(row: Array, before: Array, weight: Array, out: Array) -> None:
    """Resample a row: float32 (w + 1,) to (n,); `before`, uint32 (n,), and `weight` are those of an axis."""
    for x in range(out.size):
        at = np.uint64(before[x])
        a, b = row[at], row[at + np.uint64(1)]
        out[x] = a + weight[x] * (b - a)


@kernel
def is_identity(axis: Axis, source: int) -> bool:
    """Return whether an axis takes each of so many source positions as it is.

    As many targets are not enough: of a grid whose end is cut off there may be as many, and then the last target lies
    before the last source position.
    """
    first = axis[0]
    return first.size == source and first[source - 1] == source - 1


@kernel
def make_rows(planes: int, width: int) -> tuple[Array, Array]:
    """Return `held` and `stretched` of `hold_rows` before the first row."""
    return np.full(2, -1), np.zeros((2, planes, apart(width)), np.float32)


@kernel
def hold_rows(planes: Array, chosen: Array, y: int, axes: tuple[Axis, Axis], held: Array, stretched: Array) -> None:
    """Stretch the source rows that row `y` of the target grid lies between, unless they are held already.

    They are `stretched[first % 2]` and `stretched[(first + 1) % 2]` with first = `axes[0][0][y]`.

    Parameters
    ----------
    planes : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    chosen : int64 (P,), which planes
    y : target row
    axes : `axis_weights` of rows and columns
    held : int64 (2,), the source rows that `stretched` holds (-1: none), kept from call to call
    stretched : float32 (2, P, n) of `make_rows`, kept from call to call: each source row is stretched once
    """
    (at, weight), columns = axes
    first = at[y]
    # Neighbouring source rows differ in parity, so that each has a place of its own in `stretched`. One that has no
    # share is not fetched: where it should be there is another row.
    for source in range(first, first + 2 if weight[y] > 0 else first + 1):
        if held[source % 2] != source:
            stretch_row(planes, chosen, source, columns, stretched[source % 2])
            held[source % 2] = source


@kernel
def sample_row(
    planes: Array, chosen: Array, y: int, axes: tuple[Axis, Axis], held: Array, stretched: Array, out: Array
) -> None:
    """Sample row `y` of the target grid into planes as long as those of `stretched`: float32 (P, n).

    The other parameters are those of `hold_rows`.
    """
    rows, columns = axes
    # Without blending, rows are read where they lie and not held first.
    if rows[1][y] == 0 and is_identity(columns, planes.shape[2]):
        for p in range(chosen.size):
            widen(planes[chosen[p], rows[0][y]], out[p, : columns[0].size])
    else:
        hold_rows(planes, chosen, y, axes, held, stretched)
        above, below, weight = stretched[rows[0][y] % 2], stretched[(rows[0][y] + 1) % 2], rows[1][y]
        for p in range(chosen.size):
            # Without a share the row below is not fetched, and `stretched` holds another one in its place.
            if weight == 0:
                widen(above[p], out[p])
            else:
                blend(above[p], below[p], weight, out[p])


def sample_band(planes: Array, chosen: Array, start: int, axes: tuple[Axis, Axis], out: Array) -> None:
    """Sample rows of the target grid from `start` on into float32 (P, rows, width); else as for `hold_rows`."""
    _sample_rows(planes, chosen, start, axes, *make_rows(chosen.size, out.shape[2]), out)


@entry
def _sample_rows(
    planes: Array, chosen: Array, start: int, axes: tuple[Axis, Axis], held: Array, stretched: Array, out: Array
) -> None:
    (first, weight), width = axes[0], out.shape[2]
    for y in range(out.shape[1]):
        at, share = first[start + y], weight[start + y]
        if share == 0 and is_identity(axes[1], planes.shape[2]):
            for p in range(chosen.size):
                widen(planes[chosen[p], at], out[p, y])
            continue
        hold_rows(planes, chosen, start + y, axes, held, stretched)
        above, below = stretched[at % 2], stretched[(at + 1) % 2]
        for p in range(chosen.size):
            # Without a share the row below is not fetched, and `stretched` holds another one in its place.
            blend(above[p, :width], above[p, :width] if share == 0 else below[p, :width], share, out[p, y])


def largest_in_band(planes: Array, weights: Array, axes: tuple[Axis, Axis], top: int, out: Array) -> None:
    """Write which plane, each times its weight, is the largest at each pixel, the first of equals.

    Parameters
    ----------
    planes : (P, h, w), float32 or patterns of float16, see `arithmetic.widen`
    weights : float32 (n, P), so many times one for each plane
    axes : `axis_weights` of rows and columns of a band
    top : row of `out` where the band begins
    out : int16 (n, at least top + rows, width), indices of planes
    """
    _largest_in_rows(planes, np.arange(len(planes)), weights, axes, *make_rows(len(planes), out.shape[2]), top, out)


@entry
def _largest_in_rows(
    planes: Array,
    every: Array,
    weights: Array,
    axes: tuple[Axis, Axis],
    held: Array,
    stretched: Array,
    top: int,
    out: Array,
) -> None:
    (first, weight), width = axes[0], out.shape[2]
    strip, found = np.zeros((every.size, STRIP), np.float32), np.empty(STRIP, np.int32)
    for y in range(first.size):
        hold_rows(planes, every, y, axes, held, stretched)
        above, below = stretched[first[y] % 2], stretched[(first[y] + 1) % 2]
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            # A strip of all planes stays in the first cache for all weights.
            for p in range(every.size):
                # At the last source row there is none below, and `stretched` holds an older one in its place.
                beside = above[p, x : x + n] if weight[y] == 0 else below[p, x : x + n]
                blend(above[p, x : x + n], beside, weight[y], strip[p, :n])
            for i in range(weights.shape[0]):
                _find_largest(strip, weights[i], found)
                _narrow(found, out[i, top + y, x : x + n])


@kernel
def _narrow(found: Array, out: Array) -> None:
    for i in range(out.size):
        out[i] = np.int16(found[i])


@kernel
def _find_largest(strip: Array, weights: Array, found: Array) -> None:
    """Write which row of a strip, (P, STRIP), times its weight is the largest, the first of equals: (STRIP,)."""
    least, none = splat(np.float32(-np.inf)), splat(np.int32(0))
    # Four vectors at once, each of which waits for its own last comparison alone.
    a, b, c, d = least, least, least, least
    of_a, of_b, of_c, of_d = none, none, none, none
    for p in range(strip.shape[0]):
        at, weight, name = p * STRIP, weights[p], np.int32(p)
        x, y = load(strip, at) * weight, load(strip, at + LANES) * weight
        of_a, of_b = where_greater(x, a, name, of_a), where_greater(y, b, name, of_b)
        a, b = greater(x, a), greater(y, b)
        x, y = load(strip, at + 2 * LANES) * weight, load(strip, at + 3 * LANES) * weight
        of_c, of_d = where_greater(x, c, name, of_c), where_greater(y, d, name, of_d)
        c, d = greater(x, c), greater(y, d)
    store(found, 0, of_a)
    store(found, LANES, of_b)
    store(found, 2 * LANES, of_c)
    store(found, 3 * LANES, of_d)


@kernel
def blend(above: Array, below: Array, weight: np.float32, out: Array) -> None:
    """Blend two stretched rows: float32 (n,) each."""
    for x in range(out.size):
        out[x] = above[x] + weight * (below[x] - above[x])
