"""Sums over classes, or maxima over queries, of many pixels: the loops behind `methods.accumulators`.

Each is small and compiled when it is first called. Pixels lie side by side, and compilers make vectors of them; the
inner loops run over so few that their sums stay in the first cache.
"""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import exp2, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.fused.pixel_ranks import offset
from logitpipe.stages.score.kernels.vectors import greater, lesser

PIECE = 1024
"""Pixels that the inner loops run over."""
FEW = 256
"""The same where there are many planes of them."""
ZERO, ONE = np.float32(0.0), np.float32(1.0)


@entry
def exp2_all(x: Array) -> Array:
    """Return 2**x, float32 (n,), for x <= 120; 2**-125 and less become that."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = exp2(x[i])
    return out


@entry
def log2_all(x: Array) -> Array:
    """Return log2 of positive normal numbers, float32 (n,)."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = log2(x[i])
    return out


@entry
def log1p_all(x: Array) -> Array:
    """Return ln(1 + x) for x >= 0, float32 (n,)."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = log1p(x[i])
    return out


@entry
def offset_all(x: Array, by: np.float32) -> Array:
    """Return x moved away from zero, float32 (n,)."""
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = offset(x[i], by)
    return out


@kernel
def _raise_two(x: Array, first: Array, second: Array) -> None:
    for i in range(x.size):
        # The second largest comes first, as it needs the largest of the classes before x.
        second[i] = greater(second[i], lesser(x[i], first[i]))
        first[i] = greater(first[i], x[i])


@entry
def two_largest(z: Array) -> tuple[Array, Array]:
    """Return the largest and the second largest of float32 (K, n): (n,) each."""
    n = z.shape[1]
    first, second = np.full(n, np.float32(-np.inf)), np.full(n, np.float32(-np.inf))
    for start in range(0, n, PIECE):
        for k in range(z.shape[0]):
            _raise_two(z[k][start : start + PIECE], first[start : start + PIECE], second[start : start + PIECE])
    return first, second


@kernel
def _exchange(a: Array, b: Array) -> None:
    for i in range(a.size):
        high, low = greater(a[i], b[i]), lesser(a[i], b[i])
        a[i] = high
        b[i] = low


@entry
def sorted_descending(z: Array) -> Array:
    """Return each pixel's classes by falling logit: float32 (K, n)."""
    out = z.copy()
    for start in range(0, z.shape[1], PIECE):
        for k in range(z.shape[0]):
            for other in range(k + 1, z.shape[0]):
                _exchange(out[k][start : start + PIECE], out[other][start : start + PIECE])
    return out


@kernel
def _add_exponentials(x: Array, second: Array, bits: np.float32, total: Array) -> None:
    for i in range(x.size):
        total[i] += exp2(lesser(x[i] - second[i], ZERO) * bits)


@entry
def sum_exponentials(z: Array, second: Array, bits: np.float32) -> Array:
    """Return sum over k != argmax of 2**((z_k - m2) bits): float32 (n,).

    Distances are cut off at 0, which only the largest logit exceeds: it then adds exactly the 1 that is taken off.
    """
    total = np.full(second.size, np.float32(-1.0))
    for start in range(0, second.size, PIECE):
        for k in range(z.shape[0]):
            part = slice(start, start + PIECE)
            _add_exponentials(z[k][part], second[part], bits, total[part])
    return total


@kernel
def _add_complements(x: Array, top: Array, bits: np.float32, total: Array) -> None:
    for i in range(x.size):
        total[i] += ONE - exp2((x[i] - top[i]) * bits)


@kernel
def _add_squares(x: Array, top: Array, bits: np.float32, total: Array, share: np.float32, squares: Array) -> None:
    for i in range(x.size):
        from_mean = ONE - exp2((x[i] - top[i]) * bits) - total[i] * share
        squares[i] += from_mean * from_mean


@entry
def sum_unevenness(z: Array, top: Array, bits: np.float32) -> Array:
    """Return the sum over k of (c_k - mean of c)^2, c_k = 1 - 2**((z_k - m1) bits): float32 (n,).

    In two passes, as the sum of c_k^2 less that of the mean cancels where one class outweighs all others.
    """
    total, squares = np.zeros(top.size, np.float32), np.zeros(top.size, np.float32)
    share = ONE / np.float32(z.shape[0])
    for start in range(0, top.size, PIECE):
        part = slice(start, start + PIECE)
        for k in range(z.shape[0]):
            _add_complements(z[k][part], top[part], bits, total[part])
        for k in range(z.shape[0]):
            _add_squares(z[k][part], top[part], bits, total[part], share, squares[part])
    return squares


@kernel
def _exponentials(x: Array, top: Array, bits: np.float32, out: Array, total: Array) -> None:
    for i in range(x.size):
        e = exp2((x[i] - top[i]) * bits)
        out[i] = e
        total[i] += e


@kernel
def _divide(out: Array, total: Array) -> None:
    for i in range(out.size):
        out[i] = out[i] / total[i]


@entry
def posteriors(z: Array, top: Array, bits: np.float32) -> Array:
    """Return exp2((z - m1) bits) over its sum: float32 (K, n)."""
    out, total = np.empty_like(z), np.zeros(top.size, np.float32)
    for start in range(0, top.size, PIECE):
        part = slice(start, start + PIECE)
        for k in range(z.shape[0]):
            _exponentials(z[k][part], top[part], bits, out[k][part], total[part])
        for k in range(z.shape[0]):
            _divide(out[k][part], total[part])
    return out


@kernel
def _raise(x: Array, weight: np.float32, most: Array) -> None:
    for i in range(x.size):
        most[i] = greater(most[i], x[i] * weight)


@entry
def weighted_max(M: Array, weights: Array) -> Array:
    """Return max over q of M_q weights_pq, or 0 where none is above: float32 (Q, n), (P, Q) to (P, n)."""
    most = np.zeros((weights.shape[0], M.shape[1]), np.float32)
    # Of all queries so few pixels at once that they stay in the second cache for all rows of weights.
    for start in range(0, M.shape[1], FEW):
        for p in range(weights.shape[0]):
            for q in range(M.shape[0]):
                if weights[p, q] > ZERO:
                    _raise(M[q][start : start + FEW], weights[p, q], most[p][start : start + FEW])
    return most
