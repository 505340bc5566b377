"""Scores of mask networks beside the core, from the planes of one temperature of the classes.

They are functions of S as `mask_ranks` has it, or single maps that were finished at the masks' size. Of S taken as
logits they are those of pixel networks, and steps of `pixel_ranks` finish them. All of it is compiled when the first
such method is asked for: whoever scores the core alone does not wait for it.

Scores leave here as ranks, see `scales.py`.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LEAST_EXPONENT, LN2, LOG2E, exp2, exp2_product, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel
from logitpipe.stages.score.kernels.fused import pixel_ranks
from logitpipe.stages.score.kernels.fused.mask_ranks import blended, rank_left, two_largest
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, WORK_ROWS, offset
from logitpipe.stages.score.kernels.vectors import (
    LANES,
    Floats,
    apart,
    fused,
    greater,
    lesser,
    load,
    splat,
    store,
    where_greater,
)

SOFT_MSP, SOFT_ENTROPY, SOFT_ENERGY, PRODUCT, TANH_LOG = range(5)
"""Rows of the ranks that are functions of the class planes, the first three of a temperature T_S."""
CLASS_ROWS = 5
"""How many these are; a row for each single map comes after them."""

EVEN = np.float32(0.125)
"""Classes are nearly equal where all others together have more than EVEN (K - 1) times the share of the largest."""
LEAST_LACK = np.float32(2.0**-48)
"""Least ln K - H: beside ln K float64 holds no less."""
MOST_DEVIATION = np.float32(80.0)
"""e to this power is still far from float32's greatest number."""
TINY = np.float32(2.0**-126)
"""The least normal float32: what a logarithm is taken of instead of 0."""


class Row(NamedTuple):
    """Some pixels of a row, n of them, a multiple of LANES.

    Parameters
    ----------
    divisors, sharp : float32 (t,), T_S, and -T_S logsumexp(S / T_S) of a perfectly confident pixel at each
    top, gap, total : float32 (n,), largest S, its distance to the second largest times log2 e, and the sum of all
    work : float32 (WORK_ROWS, at least n), as in `pixel_ranks.temper`
    beyond, deviation : float32 (n,), V and W of `sum_deviations`
    left, joined : float32 (n,), prod_k (1 - S_k) and 1 - prod_k (1 - S_k), S clipped to [0, 1]
    ranks : float32 (CLASS_ROWS and the single maps, at least n)
    """

    divisors: Array
    sharp: Array
    top: Array
    gap: Array
    total: Array
    work: Array
    beyond: Array
    deviation: Array
    left: Array
    joined: Array
    ranks: Array


def make_row(width: int, divisors: Array, sharp: Array, maps: int) -> Row:
    """Return room for a row of an image."""
    n = apart(width)
    top, gap, total, beyond, deviation, left, joined = np.empty((7, n), np.float32)
    work, ranks = np.empty((WORK_ROWS, n), np.float32), np.empty((CLASS_ROWS + maps, n), np.float32)
    return Row(divisors, sharp, top, gap, total, work, beyond, deviation, left, joined, ranks)


# The following work on LANES pixels of a row between two stretched ones, see `mask_ranks`.


@kernel
def sum_exponentials(
    above: Array, below: Array, weight: np.float32, classes: int, start: int, second: Floats, inverse_T: np.float32
) -> tuple[Floats, Floats]:
    """Return sum over k != argmax of e_k and sum_k d_k e_k, e_k = 2**(d_k / T_S), as `pixel_ranks` has them."""
    # The largest S adds exactly 1 to the first sum, and 0 to the other.
    total, weighted = splat(np.float32(-1.0)), splat(np.float32(0.0))
    least = LEAST_EXPONENT / inverse_T
    for k in range(classes):
        S = blended(above, below, weight, k * above.shape[1] + start)
        d = greater(lesser(S - second, np.float32(0.0)) * LOG2E, least)
        e = exp2_product(d, inverse_T)
        total = total + e
        weighted = fused(d, e, weighted)
    return total, weighted


@inlined
def beyond_linear(u: Floats) -> Floats:
    """Return e^u - 1 - u: by its series where the difference would cancel, to 4e-8."""
    one = np.float32(1.0)
    series = u * np.float32(1 / 40320) + np.float32(1 / 5040)
    series = u * (u * series + np.float32(1 / 720)) + np.float32(1 / 120)
    series = u * (u * series + np.float32(1 / 24)) + np.float32(1 / 6)
    series = u * series + np.float32(0.5)
    far = greater(u, np.float32(0.0) - u)
    return where_greater(np.float32(0.5), far, u * u * series, exp2(u * LOG2E) - one - u)


@kernel
def sum_deviations(
    above: Array, below: Array, weight: np.float32, classes: int, start: int, mean: Floats, inverse_T: np.float32
) -> tuple[Floats, Floats]:
    """Return V and W, the sums over k of e^u - 1 - u and of u (e^u - 1), u = (S_k - mean of S) / T_S.

    No term of either is negative, so that nearly equal classes do not cancel.
    """
    beyond, moment = splat(np.float32(0.0)), splat(np.float32(0.0))
    for k in range(classes):
        S = blended(above, below, weight, k * above.shape[1] + start)
        u = lesser((S - mean) * inverse_T, MOST_DEVIATION)
        v = beyond_linear(u)
        beyond = beyond + v
        moment = fused(u, v + u, moment)
    return beyond, moment


@kernel
def multiply(above: Array, below: Array, weight: np.float32, classes: int, start: int) -> tuple[Floats, Floats]:
    """Return prod_k (1 - S_k) and 1 - prod_k (1 - S_k), S clipped to [0, 1]."""
    left, joined, one = splat(np.float32(1.0)), splat(np.float32(0.0)), np.float32(1.0)
    for k in range(classes):
        S = blended(above, below, weight, k * above.shape[1] + start)
        claim = greater(lesser(S, one), np.float32(0.0))
        left = left * (one - claim)
        # As of independent events: neither of the two products is taken off 1.
        joined = fused(joined, one - claim, claim)
    return left, joined


@kernel
def sum_saturated_squares(above: Array, below: Array, weight: np.float32, classes: int, start: int) -> Floats:
    """Return sum_k S_k^2 / (1 + S_k^2)."""
    total, one = splat(np.float32(0.0)), np.float32(1.0)
    for k in range(0, classes, 2):
        # Two classes share a division. The last one of an odd number is paired with 0, which adds nothing.
        a = blended(above, below, weight, k * above.shape[1] + start)
        b = splat(np.float32(0.0))
        if k + 1 < classes:
            b = blended(above, below, weight, (k + 1) * above.shape[1] + start)
        a, b = a * a, b * b
        product = a * b
        total = total + (a + b + product + product) / (a + b + product + one)
    return total


# The loops below write to two arrays at most, as those of `mask_ranks`.


@kernel
def rank_soft_energy(top: Array, log1r: Array, T_S: np.float32, sharp: np.float32, energies: Array) -> None:
    """Write the rank of `softmax-energy`, relative to its value `sharp` for a perfectly confident pixel."""
    for i in range(top.size):
        energies[i] = -sharp - top[i] - T_S * log1r[i]


@kernel
def weigh_even(V: Array, W: Array, rest: Array, K: np.float32, odds: Array) -> None:
    """Replace `odds` of `pixel_ranks.weigh_entropy` where classes are nearly equal, as where no query claims a pixel.

    ln K - H = W / (K + V) - ln(1 + V / K) is a sum of its own there, which does not cancel.
    """
    log_K, most = log2(K) * LN2, EVEN * (K - np.float32(1.0))
    for i in range(odds.size):
        lack = max(W[i] / (K + V[i]) - log1p(V[i] / K), LEAST_LACK)
        odds[i] = (log_K - lack) / lack if rest[i] > most else odds[i]


@kernel
def rank_product(left: Array, joined: Array, product: Array) -> None:
    """Write the rank of `rba-product`: log2 of the odds of prod_k (1 - S_k)."""
    for i in range(left.size):
        product[i] = offset(log2(max(left[i], TINY)) - log2(max(joined[i], TINY)), ENTROPY_OFFSET)


@kernel
def soften(
    above: Array, below: Array, weight: np.float32, classes: int, starts: Array, wanted: Array, t: int, row: Row
) -> None:
    """Write the wanted ranks of S taken as logits, at one T_S."""
    n, T_S, K = starts.size * LANES, row.divisors[t], np.float32(classes)
    most = EVEN * (K - np.float32(1.0))
    top, gap, work, inverse_T = row.top[:n], row.gap[:n], row.work, np.float32(1.0) / T_S
    others, moment, shrink = work[0][:n], work[1][:n], work[2][:n]
    rest, log1r, odds = work[3][:n], work[4][:n], work[5][:n]
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        first, second, left = two_largest(above, below, weight, classes, start)
        store(top, to, first)
        store(gap, to, (first - second) * LOG2E)
        store(row.total, to, first + left)
        e, weighted = sum_exponentials(above, below, weight, classes, start, second, inverse_T)
        store(others, to, e)
        store(moment, to, weighted)
    if wanted[SOFT_MSP]:
        pixel_ranks.rank_msp(others, gap, inverse_T, log2(K - np.float32(1.0)), row.ranks[SOFT_MSP])
    if wanted[SOFT_ENTROPY] or wanted[SOFT_ENERGY]:
        pixel_ranks.weigh_others(others, gap, inverse_T, shrink, rest)
        pixel_ranks.log1p_all(rest, log1r)
    if wanted[SOFT_ENTROPY]:
        some, every = False, True
        for block in range(starts.size):
            # Only blocks that have such pixels pay for one more loop over the classes.
            least, largest = rest[block * LANES], np.float32(0.0)
            for i in range(block * LANES, (block + 1) * LANES):
                least, largest = min(least, rest[i]), max(largest, rest[i])
            every &= least > most
            if largest > most:
                some = True
                mean = load(row.total, block * LANES) * (np.float32(1.0) / K)
                V, W = sum_deviations(above, below, weight, classes, starts[block], mean, inverse_T)
                store(row.beyond, block * LANES, V)
                store(row.deviation, block * LANES, W)
        if not every:
            pixel_ranks.weigh_entropy(work, gap, inverse_T, log2(K) * LN2, odds)
        if some:
            weigh_even(row.beyond, row.deviation, rest, K, odds)
        pixel_ranks.rank_entropy(odds, rest, gap, inverse_T, row.ranks[SOFT_ENTROPY])
    if wanted[SOFT_ENERGY]:
        rank_soft_energy(top, log1r, T_S, row.sharp[t], row.ranks[SOFT_ENERGY])


@kernel
def finish_more(
    stretched: Array,
    first_row: int,
    weight: np.float32,
    classes: int,
    starts: Array,
    wanted: Array,
    t: int,
    room: Row,
) -> Array:
    """Return the wanted ranks of some blocks of a row between two rows of planes: float32 (rows, at least n).

    Parameters
    ----------
    stretched : float32 (2, classes + maps, width or more) of `hold_rows`; no plane of S is negative
    classes : K; 0 where the planes are single maps alone
    wanted : bool (CLASS_ROWS + maps,); what none of them needs is not computed
    t : index of T_S
    room : of `make_row`, written

    The others are those of `mask_ranks.finish`.
    """
    above, below, n = stretched[first_row % 2], stretched[(first_row + 1) % 2], starts.size * LANES
    if wanted[SOFT_MSP] or wanted[SOFT_ENTROPY] or wanted[SOFT_ENERGY]:
        soften(above, below, weight, classes, starts, wanted, t, room)
    if wanted[PRODUCT]:
        for block in range(starts.size):
            left, joined = multiply(above, below, weight, classes, starts[block])
            store(room.left, block * LANES, left)
            store(room.joined, block * LANES, joined)
        rank_product(room.left[:n], room.joined[:n], room.ranks[PRODUCT])
    if wanted[TANH_LOG]:
        for block in range(starts.size):
            squares = sum_saturated_squares(above, below, weight, classes, starts[block])
            # tanh(log S) = (S^2 - 1) / (S^2 + 1), so that the score is K - 2 sum S^2 / (1 + S^2).
            store(room.left, block * LANES, squares * np.float32(2.0))
        rank_left(np.float32(1.0), room.left[:n], room.ranks[TANH_LOG])
    for p in range(above.shape[0] - classes):
        if wanted[CLASS_ROWS + p]:
            for block in range(starts.size):
                value = blended(above, below, weight, (classes + p) * above.shape[1] + starts[block])
                store(room.ranks[CLASS_ROWS + p], block * LANES, value)
    return room.ranks
