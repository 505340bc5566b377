"""Sums of exponentials of pixel networks, at all temperatures.

With m1 >= m2 the two largest logits of a pixel, `others` is the sum over k != argmax of e_k = exp((z_k - m2) / T),
and the moment is the sum of (z_k - m2) log2 e times e_k.

An exponential at half a temperature is the square of that at the temperature. So temperatures come in families of a
base B, B / 2 and B / 4, for which each exponential is computed once. Which family a temperature belongs to depends on
itself alone: its sums have the same bits whichever others they are computed with.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LEAST_EXPONENT, exp2_product
from logitpipe.stages.score.kernels.compiled import Array, kernel
from logitpipe.stages.score.kernels.fused.pixel_rows import MEMBERS, Row
from logitpipe.stages.score.kernels.vectors import LANES, fused, greater, load, splat, store

LEAST_BASE = 2.0
LEAST_BASE_EXPONENT = LEAST_EXPONENT / np.float32(4.0)
"""Of a base: what is below 2**-31 vanishes beside the second largest logit, and its fourth power is still normal."""


class Families(NamedTuple):
    """Temperatures by what they share.

    Parameters
    ----------
    bases : float32 (f,), B
    members : int64 (f, MEMBERS), indices of the temperatures B / 2**k; -1 where there is none
    """

    bases: Array
    members: Array


def families(temperatures: Array) -> Families:
    """Return the families of temperatures, float32 (t,).

    B is T, doubled until it is at least LEAST_BASE, but no more than twice.
    """
    found: dict[tuple[float, int], list[int]] = {}
    for t, T in enumerate(temperatures.tolist()):
        k = sum(T * 2**i < LEAST_BASE for i in range(MEMBERS - 1))
        copy = 0
        # Two numbers may be one in float32: then there is a second family of the same base.
        while found.setdefault((T * 2**k, copy), [-1] * MEMBERS)[k] >= 0:
            copy += 1
        found[T * 2**k, copy][k] = t
    return Families(np.array([base for base, _ in found], np.float32), np.array(list(found.values()), np.int64))


@kernel
def sum_exponentials(
    row: Row, n: int, lowest: np.float32, base: np.float32, asked: tuple[bool, bool, bool], with_moments: bool
) -> None:
    """Write `others` and `moments` of a row for a family.

    Parameters
    ----------
    row, n, lowest : of `prepare`
    base : B
    asked : for which of B, B / 2 and B / 4
    with_moments : whether any method needs those
    """
    width, zero, one = row.others.shape[1], np.float32(0.0), np.float32(1.0)
    inverse_base = one / base
    planes, least = row.distance.size // row.top.size, LEAST_BASE_EXPONENT * base
    # Hardly any row has such a distance.
    is_far = lowest < least
    of_first, of_second, of_third = asked
    for start in range(0, n, LANES):
        a = b = c = splat(zero)
        a_moment = b_moment = c_moment = splat(zero)
        for at in range(start * planes, (start + LANES) * planes, LANES):
            d = load(row.distance, at)
            if is_far:
                d = greater(d, least)
            e = exp2_product(d, inverse_base)
            if of_first:
                a = a + e
                if with_moments:
                    a_moment = fused(d, e, a_moment)
            # Squares are added as exact products, so that a sum has the same bits with and without the next square.
            if of_second:
                b = fused(e, e, b)
                if with_moments:
                    b_moment = fused(d, e * e, b_moment)
            if of_third:
                square = e * e
                c = fused(square, square, c)
                if with_moments:
                    c_moment = fused(d, square * square, c_moment)
        # The second largest logit adds 1 to each of these sums, and 0 to the moments. It comes last: each of many
        # small terms would be rounded beside 1, and if they are alike all in the same direction.
        store(row.others, start, a + one)
        store(row.others, width + start, b + one)
        store(row.others, 2 * width + start, c + one)
        if with_moments:
            store(row.moments, start, a_moment)
            store(row.moments, width + start, b_moment)
            store(row.moments, 2 * width + start, c_moment)
