"""Sums over classes, or maxima over queries, of many pixels: the loops behind `methods.accumulators`.

Each is small and compiled when it is first called. Pixels lie side by side, and compilers make vectors of them; the
inner loops run over so few that their sums stay in the first cache.
"""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LEAST_EXPONENT, LOG2E, exp2, exp2_product, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.fused.pixel_ranks import offset
from logitpipe.stages.score.kernels.vectors import greater, lesser

PIECE = 1024
"""Pixels that the inner loops run over."""
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
MOST_DEVIATION = np.float32(80.0)
"""e to this power is still far from float32's greatest number."""


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
def _add_moments(x: Array, second: Array, bits: np.float32, total: Array) -> None:
    for i in range(x.size):
        d = greater(lesser(x[i] - second[i], ZERO) * bits, LEAST_EXPONENT)
        total[i] += d * exp2_product(d, ONE)


@entry
def sum_moments(z: Array, second: Array, bits: np.float32) -> Array:
    """Return sum over k of d_k 2**d_k, d_k = min(z_k - m2, 0) bits: float32 (n,)."""
    total = np.zeros(second.size, np.float32)
    for start in range(0, second.size, PIECE):
        for k in range(z.shape[0]):
            part = slice(start, start + PIECE)
            _add_moments(z[k][part], second[part], bits, total[part])
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
def _add_deviations(x: Array, mean: Array, inverse: np.float32, beyond: Array, moment: Array) -> None:
    for i in range(x.size):
        u = lesser((x[i] - mean[i]) * inverse, MOST_DEVIATION)
        # e^u - 1 - u: its series where the difference would cancel, to 4e-8.
        series = np.float32(1 / 5040) + u * np.float32(1 / 40320)
        series = np.float32(1 / 120) + u * (np.float32(1 / 720) + u * series)
        series = HALF + u * (np.float32(1 / 6) + u * (np.float32(1 / 24) + u * series))
        v = u * u * series if abs(u) < HALF else exp2(u * LOG2E) - ONE - u
        beyond[i] += v
        moment[i] += u * (v + u)


@entry
def sum_deviations(z: Array, inverse: np.float32) -> tuple[Array, Array]:
    """Return V and W, the sums over k of e^u - 1 - u and of u (e^u - 1): float32 (n,) each.

    u = (z_k - mean of z) / T. No term of either is negative, so that nearly equal classes do not cancel.
    """
    mean = np.zeros(z.shape[1], np.float32)
    for k in range(z.shape[0]):
        mean += z[k]
    mean /= np.float32(z.shape[0])
    beyond, moment = np.zeros(mean.size, np.float32), np.zeros(mean.size, np.float32)
    for start in range(0, mean.size, PIECE):
        for k in range(z.shape[0]):
            part = slice(start, start + PIECE)
            _add_deviations(z[k][part], mean[part], inverse, beyond[part], moment[part])
    return beyond, moment


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
def _leave(x: Array, left: Array, joined: Array) -> None:
    for i in range(x.size):
        claim = greater(lesser(x[i], ONE), ZERO)
        left[i] *= ONE - claim
        # As of independent events: neither of the two products is taken off 1.
        joined[i] += claim * (ONE - joined[i])


@entry
def none_of(S: Array) -> tuple[Array, Array]:
    """Return prod_k (1 - S_k) and 1 - prod_k (1 - S_k), S clipped to [0, 1]: float32 (n,) each."""
    left, joined = np.ones(S.shape[1], np.float32), np.zeros(S.shape[1], np.float32)
    for start in range(0, left.size, PIECE):
        for k in range(S.shape[0]):
            part = slice(start, start + PIECE)
            _leave(S[k][part], left[part], joined[part])
    return left, joined


@kernel
def _add_saturated(x: Array, total: Array) -> None:
    for i in range(x.size):
        square = x[i] * x[i]
        total[i] += square / (ONE + square)


@entry
def sum_saturated_squares(S: Array) -> Array:
    """Return sum over k of S_k^2 / (1 + S_k^2): float32 (n,)."""
    total = np.zeros(S.shape[1], np.float32)
    for start in range(0, total.size, PIECE):
        for k in range(S.shape[0]):
            _add_saturated(S[k][start : start + PIECE], total[start : start + PIECE])
    return total


@kernel
def _raise(x: Array, weight: np.float32, most: Array) -> None:
    for i in range(x.size):
        most[i] = greater(most[i], x[i] * weight)


@entry
def weighted_max(M: Array, weights: Array) -> Array:
    """Return max over q of M_q weights_q, or 0 where none is above: float32 (Q, n), (Q,) to (n,)."""
    most = np.zeros(M.shape[1], np.float32)
    for start in range(0, most.size, PIECE):
        for q in range(M.shape[0]):
            if weights[q] > ZERO:
                _raise(M[q][start : start + PIECE], weights[q], most[start : start + PIECE])
    return most
