"""Elementary functions for the kernels, written so that a compiler turns loops over them into vector code.

They take and return float32, those that say so also vectors of it. Their errors are bounded by tests against float64.
"""

from collections.abc import Callable

import numpy as np
from numba import types
from numba.extending import overload

from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel
from logitpipe.stages.score.kernels.vectors import Floats, as_float, as_int, fused, greater, shift_right, to_float

LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)
ROUND = np.float32(3 << 22)
"""Adding 1.5 * 2**23 rounds a small float to an integer that then lies in the low bits of its pattern."""
LEAST_EXPONENT = np.float32(-125.0)
HALF_EXPONENTS = np.int32(0x77800000)
"""The pattern of 2**112, which moves float16's exponents to float32's, subnormals included."""


@inlined
def exp2_product(a: Floats, b: Floats) -> Floats:
    """Return 2**(a b) for a b from LEAST_EXPONENT to 120, of float32 or vectors; relative error under 2e-7.

    With f the distance of a b to the nearest integer, 2**f is the polynomial of degree 5 that is exact at 0 and errs
    by 9.2e-8 at most. The product itself is not rounded where the processor can fuse it with the additions.
    """
    shifted = fused(a, b, ROUND)
    f = fused(a, b, ROUND - shifted)
    p = np.float32(1.326472439e-3) * f + np.float32(9.671513239e-3)
    p = p * f + np.float32(5.550733756e-2)
    p = p * f + np.float32(2.402224207e-1)
    p = p * f + np.float32(6.931469776e-1)
    p = p * f + np.float32(1.0)
    # ROUND has left the integer in the low bits of the pattern; shifted by 23 it is added to the exponent of p.
    # An a b out of range would run into the sign bit, without an error.
    return as_float(as_int(p) + (as_int(shifted) << np.int32(23)))


@inlined
def exp2(x: Floats) -> Floats:
    """Return 2**x for x <= 120 as `exp2_product` does, and the smallest normal numbers below LEAST_EXPONENT."""
    return exp2_product(greater(x, LEAST_EXPONENT), np.float32(1.0))


@inlined
def log2(x: Floats) -> Floats:
    """Return the binary logarithm of positive normal numbers; relative error under 3e-7, also beside x = 1.

    The mantissa is taken to [sqrt(1/2), sqrt(2)); there log2(1 + m) is m times a polynomial of degree 8 that errs
    by 2.6e-8 at most, relatively. A division would cost more than all of it. The polynomial is evaluated in powers of
    m**2 (Estrin's scheme): of its short chains of multiplications several are under way at once.
    """
    # 0x3F3504F3 is the pattern of sqrt(1/2). The exponent steps there and not at 1, so that beside x = 1 it is 0
    # and nothing cancels between it and the polynomial.
    exponent = shift_right(as_int(x) - np.int32(0x3F3504F3), 23)
    m = as_float(as_int(x) - (exponent << np.int32(23))) - np.float32(1.0)
    m2 = m * m
    m4 = m2 * m2
    p76 = np.float32(-2.072694192e-1) * m + np.float32(2.157157644e-1)
    p54 = np.float32(-2.389448792e-1) * m + np.float32(2.879162385e-1)
    p32 = np.float32(-3.607036799e-1) * m + np.float32(4.809106431e-1)
    p10 = np.float32(-7.213473468e-1) * m + np.float32(1.442695004)
    p = (np.float32(1.258361841e-1) * m4 + (p76 * m2 + p54)) * m4 + (p32 * m2 + p10)
    return to_float(exponent) + p * m


@inlined
def log1p(x: Floats) -> Floats:
    """Return ln(1 + x) for x >= 0; relative error under 1e-6, also where 1 + x rounds to 1.

    What the rounding loses, lost, adds lost / (1 + x). It matters where x is small; 1 - x does for 1 / (1 + x) there.
    """
    sum1 = x + np.float32(1.0)
    lost = x - (sum1 - np.float32(1.0))
    return log2(sum1) * LN2 + lost * greater(np.float32(1.0) - x, np.float32(0.0))


@inlined
def half(bits: np.uint16) -> np.float32:
    """Return the float16 number of a pattern, exactly."""
    pattern = np.int32(bits)
    # float16 has 10 bits of mantissa and float32 has 23: the shift by 13 lines them up.
    shifted = (pattern & np.int32(0x7FFF)) << np.int32(13)
    magnitude = as_float(shifted) * as_float(HALF_EXPONENTS)
    # Infinities and NaN would come out as numbers from 65536 up; they stay what they are.
    special = as_float(shifted | np.int32(0x7F800000))
    value = magnitude if magnitude < np.float32(65536.0) else special
    return as_float(as_int(value) | ((pattern & np.int32(0x8000)) << np.int32(16)))


def widen(row: Array, out: Array) -> None:
    """Copy numbers as float32, exactly: float32 (n,), or uint16 (n,), the patterns of float16."""
    out[:] = row.view(np.float16) if row.dtype == np.uint16 else row


@overload(widen, strict=False)
def _widen(row: types.Array, _out: types.Array) -> Callable[..., None]:
    def copy(row: Array, out: Array) -> None:
        for i in range(out.size):
            out[i] = row[i]

    def convert(row: Array, out: Array) -> None:
        for i in range(out.size):
            out[i] = half(row[i])

    return copy if row.dtype == types.float32 else convert


@kernel
def write_sigmoid(x: Array) -> int:
    """Replace float32 (n,) by 1 / (1 + exp(-x)), and by 0 below 2**-125; return how many are not finite."""
    damaged = 0
    for i in range(x.size):
        # All bits of the exponent are set in infinities and NaN alone. Tested first, as x[i] is written over below.
        damaged += (as_int(x[i]) & np.int32(0x7F800000)) == np.int32(0x7F800000)
        # Of -|x|, so that the exponential cannot overflow.
        y = -abs(x[i]) * LOG2E
        e = exp2(y) if y > LEAST_EXPONENT else np.float32(0.0)
        x[i] = (np.float32(1.0) if x[i] >= np.float32(0.0) else e) / (np.float32(1.0) + e)
    return damaged


def patterns(values: Array) -> Array:
    """Return float16 as the patterns that kernels take, float32 as it is; no copy."""
    return values.view(np.uint16) if values.dtype == np.float16 else values
