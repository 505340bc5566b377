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
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, ONE, Step, offset
from logitpipe.stages.score.kernels.fused.pixel_rows import LOG1R, ODDS, REST, WORK_ROWS
from logitpipe.stages.score.kernels.vectors import (
    LANES,
    Floats,
    apart,
    fused,
    greater,
    lanes,
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
    others, moments : float32 (1, n), as `pixel_sums` has them
    work : float32 (WORK_ROWS, n), as in `pixel_rows.Row`
    beyond, deviation : float32 (n,), V and W of `sum_deviations`
    left, joined : float32 (n,), prod_k (1 - S_k) and 1 - prod_k (1 - S_k), S clipped to [0, 1]
    ranks : float32 (CLASS_ROWS and the single maps, at least n)
    """

    divisors: Array
    sharp: Array
    top: Array
    gap: Array
    total: Array
    others: Array
    moments: Array
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
    others, moments = np.empty((2, 1, n), np.float32)
    work, ranks = np.empty((WORK_ROWS, n), np.float32), np.empty((CLASS_ROWS + maps, n), np.float32)
    return Row(divisors, sharp, top, gap, total, others, moments, work, beyond, deviation, left, joined, ranks)


# The following work on LANES pixels of a row between two stretched ones, see `mask_ranks`.


@kernel
def sum_exponentials(
    above: Array, below: Array, weight: np.float32, classes: int, start: int, second: Floats, inverse_T: np.float32
) -> tuple[Floats, Floats]:
    """Return sum over k != argmax of e_k and sum_k d_k e_k, e_k = 2**(d_k / T_S), as `pixel_sums` has them."""
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


# The loops below are short and take whole arrays, as those of `pixel_ranks`.


@kernel
def rank_soft_energy(row: Row, step: Step, sharp: np.float32) -> None:
    """Write the rank of `softmax-energy`, relative to its value `sharp` for a perfectly confident pixel."""
    width = row.work.shape[1]
    for at in range(0, step.n, LANES):
        energy = load(row.top, at) + load(row.work, LOG1R * width + at) * step.T
        store(row.ranks, SOFT_ENERGY * row.ranks.shape[1] + at, (np.float32(0.0) - sharp) - energy)


@kernel
def weigh_even(row: Row, n: int, K: np.float32) -> None:
    """Replace the odds of `pixel_ranks.weigh_entropy` where classes are nearly equal: where no query claims a pixel.

    ln K - H = W / (K + V) - ln(1 + V / K) is a sum of its own there, which does not cancel.
    """
    log_K, most, width = log2(K) * LN2, EVEN * (K - ONE), row.work.shape[1]
    for at in range(0, n, LANES):
        V, odds = load(row.beyond, at), load(row.work, ODDS * width + at)
        lack = greater(load(row.deviation, at) / (V + K) - log1p(V / K), LEAST_LACK)
        even = where_greater(load(row.work, REST * width + at), most, (log_K - lack) / lack, odds)
        store(row.work, ODDS * width + at, even)


@kernel
def rank_product(left: Array, joined: Array, product: Array) -> None:
    """Write the rank of `rba-product`: log2 of the odds of prod_k (1 - S_k)."""
    for at in range(0, left.size, LANES):
        odds = log2(greater(load(left, at), TINY)) - log2(greater(load(joined, at), TINY))
        store(product, at, offset(odds, ENTROPY_OFFSET))


@kernel
def soften(
    above: Array, below: Array, weight: np.float32, classes: int, starts: Array, wanted: Array, t: int, row: Row
) -> None:
    """Write the wanted ranks of S taken as logits, at one T_S."""
    K, step = np.float32(classes), Step(starts.size * LANES, 0, row.divisors[t], ONE / row.divisors[t])
    most, rest = EVEN * (K - ONE), REST * row.work.shape[1]
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        first, second, left = two_largest(above, below, weight, classes, start)
        store(row.top, to, first)
        store(row.gap, to, (first - second) * LOG2E)
        store(row.total, to, first + left)
        others, moment = sum_exponentials(above, below, weight, classes, start, second, step.inverse_T)
        store(row.others, to, others)
        store(row.moments, to, moment)
    if wanted[SOFT_MSP]:
        pixel_ranks.rank_msp(row, step, log2(K - ONE), row.ranks, SOFT_MSP)
    if wanted[SOFT_ENTROPY] or wanted[SOFT_ENERGY]:
        pixel_ranks.weigh_others(row, step)
        pixel_ranks.take_logarithms(row, step)
    if wanted[SOFT_ENTROPY]:
        some, every = False, True
        for block in range(starts.size):
            # Only blocks that have such pixels pay for one more loop over the classes.
            r = lanes(load(row.work, rest + block * LANES))
            least, largest = r[0], r[0]
            for i in range(1, LANES):
                least, largest = min(least, r[i]), max(largest, r[i])
            every &= least > most
            if largest > most:
                some = True
                mean = load(row.total, block * LANES) * (ONE / K)
                V, W = sum_deviations(above, below, weight, classes, starts[block], mean, step.inverse_T)
                store(row.beyond, block * LANES, V)
                store(row.deviation, block * LANES, W)
        if not every:
            pixel_ranks.weigh_entropy(row, step, log2(K) * LN2)
        if some:
            weigh_even(row, step.n, K)
        pixel_ranks.rank_entropy(row, step, row.ranks, SOFT_ENTROPY)
    if wanted[SOFT_ENERGY]:
        rank_soft_energy(row, step, row.sharp[t])


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
        rank_left(ONE, room.left[:n], room.ranks[TANH_LOG])
    for p in range(above.shape[0] - classes):
        if wanted[CLASS_ROWS + p]:
            for block in range(starts.size):
                value = blended(above, below, weight, (classes + p) * above.shape[1] + starts[block])
                store(room.ranks[CLASS_ROWS + p], block * LANES, value)
    return room.ranks
