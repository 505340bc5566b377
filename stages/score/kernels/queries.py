"""Queries of a mask network: mask logits resampled to M, and M mixed to planes of the classes."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import write_sigmoid
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.resampling import Axis, blend, hold_rows, make_rows
from logitpipe.stages.score.kernels.vectors import LANES, fused, load, splat, store

TILE = 6
"""Planes that are mixed at once. Their sums stay in registers, of which AVX2 has 16 of half a vector each."""

STRIP = 4 * LANES
"""Pixels whose M are brought together at once. Those of all queries fit the first cache."""


@entry
def claim(planes: Array, axes: tuple[Axis, Axis], T_m: np.float32, M: Array, claimed: Array) -> int:
    """Write M_q = sigmoid(m_q / T_m) of mask logits m_q, resampled; return how many of these are not finite.

    A row is resampled and finished while it is in the cache.

    Parameters
    ----------
    planes : (Q, h, w), float32 or patterns of float16, see `arithmetic.widen`
    axes : `axis_weights` of rows and columns
    M : float32 (Q, rows, columns)
    claimed : float32 (rows, columns), sum over q of M_q
    """
    (first, weight), (queries, height, width) = axes[0], M.shape
    every, damaged = np.arange(queries), 0
    held, stretched = make_rows(queries, width)
    for y in range(height):
        hold_rows(planes, every, y, axes, held, stretched)
        above, below = stretched[first[y] % 2], stretched[(first[y] + 1) % 2]
        claimed[y, :] = 0
        for q in range(queries):
            # Without a share the row below is not fetched, and `stretched` holds another one in its place.
            beside = above[q, :width] if weight[y] == 0 else below[q, :width]
            blend(above[q, :width], beside, weight[y], M[q, y])
            damaged += _finish(M[q, y], T_m, claimed[y])
    return damaged


@kernel
def _finish(row: Array, T_m: np.float32, claimed: Array) -> int:
    """Replace mask logits by M and add it to `claimed`: float32 (n,) each; return how many are not finite."""
    if T_m != 1:
        for x in range(row.size):
            row[x] /= T_m
    damaged = write_sigmoid(row)
    for x in range(row.size):
        claimed[x] += row[x]
    return damaged


@entry
def mix(matrix: Array, M: Array, out: Array, left: int) -> None:
    """Write the planes that a matrix mixes of M.

    Each sum runs over the queries in their order, so that a plane has the same bits whichever others are mixed with
    it. That is why it is no call of a library, which rounds as the number of planes makes it choose.

    Parameters
    ----------
    matrix : float32 (P, Q)
    M : float32 (Q, rows, columns)
    out : float32 (P, rows, at least left + columns)
    left : where in `out` the first column goes
    """
    (planes, queries), (height, width) = matrix.shape, M.shape[1:]
    tiles = _tiled(matrix)
    strip, found = np.zeros((queries, STRIP), np.float32), np.empty((TILE, LANES), np.float32)
    for y in range(height):
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            # Queries lie far apart: a strip of all of them is fetched once for all planes.
            for q in range(queries):
                at = (q * height + y) * width + x
                for start in range(0, n - n % LANES, LANES):
                    store(strip, q * STRIP + start, load(M, at + start))
                for i in range(n - n % LANES, n):
                    strip[q, i] = M[q, y, x + i]
            for tile in range(tiles.shape[0]):
                for start in range(0, n, LANES):
                    _mix_strip(tiles[tile], strip, start, found)
                    for i in range(min(TILE, planes - tile * TILE)):
                        at = ((tile * TILE + i) * height + y) * out.shape[2] + left + x + start
                        if n - start >= LANES:
                            store(out, at, load(found, i * LANES))
                        else:
                            for lane in range(n - start):
                                out[tile * TILE + i, y, left + x + start + lane] = found[i, lane]


@kernel
def _tiled(matrix: Array) -> Array:
    """Return a matrix (P, Q) in tiles, filled up with zeros: float32 (tiles, Q, TILE)."""
    planes, queries = matrix.shape
    out = np.zeros((-(-planes // TILE), queries, TILE), np.float32)
    for p in range(planes):
        for q in range(queries):
            out[p // TILE, q, p % TILE] = matrix[p, q]
    return out


@kernel
def _mix_strip(tile: Array, strip: Array, start: int, out: Array) -> None:
    """Write the sums over q of tile (Q, TILE) times LANES pixels of a strip (Q, STRIP): float32 (TILE, LANES)."""
    zero = splat(np.float32(0.0))
    a, b, c, d, e, f = zero, zero, zero, zero, zero, zero
    for q in range(strip.shape[0]):
        M, weights = load(strip, q * STRIP + start), tile[q]
        a, b, c = fused(M, weights[0], a), fused(M, weights[1], b), fused(M, weights[2], c)
        d, e, f = fused(M, weights[3], d), fused(M, weights[4], e), fused(M, weights[5], f)
    store(out, 0, a)
    store(out, LANES, b)
    store(out, 2 * LANES, c)
    store(out, 3 * LANES, d)
    store(out, 4 * LANES, e)
    store(out, 5 * LANES, f)
