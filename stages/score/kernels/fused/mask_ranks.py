"""Scores of mask networks at one temperature, from planes at the store's mask resolution.

S_k = sum_q P_qk M_q. The K planes S are resampled to the evaluation size row by row and the last step of every
formula is taken on the row, so that no map of K classes ever exists at that size. With r = sum over k != argmax of
S_k / max S, `msp` and `entropy` are functions of r and of the ratios alone; nothing cancels.

Scores leave here as ranks, see `scales.py`.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LN2, LOG2E, exp2, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel
from logitpipe.stages.score.kernels.fused import pixel_ranks
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, ONE, SMALL, offset
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

MSP, ENTROPY, RBA, MASK2ANOMALY, NEG_SUM, MASK_ENERGY, EAM, VOID, RBA_NORMALIZED, MAXLOGIT = range(10)
"""Rows of the ranks."""
ROWS = 10
SMALLEST = np.float32(1e-37)
SINGLE_MAPS = 3
"""Planes after the K classes whose score is a single map already: eam, void, rba-normalized."""


class Row(NamedTuple):
    """Some pixels of a row, n of them, a multiple of LANES.

    Parameters
    ----------
    top : float32 (n,), max S
    rest, mixed : float32 (n,), sums over k != argmax of x_k = S_k / max S, and of -x_k log2 x_k
    saturated, total : float32 (n,), sums of tanh S_k and of S_k
    exponentials : float32 (n,), sum of exp(S_k - max S)
    ranks : float32 (ROWS, at least n)
    """

    top: Array
    rest: Array
    mixed: Array
    saturated: Array
    total: Array
    exponentials: Array
    ranks: Array


def make_row(width: int) -> Row:
    """Return room for a row of an image."""
    n = apart(width)
    sums = np.empty((6, n), np.float32)
    return Row(sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], np.empty((ROWS, n), np.float32))


@kernel
def shortened(row: Row, n: int) -> Row:
    """Return the first n pixels of a row."""
    sums = row.top[:n], row.rest[:n], row.mixed[:n], row.saturated[:n], row.total[:n], row.exponentials[:n]
    return Row(*sums, row.ranks)


# The following work on LANES pixels of a row that lies between two stretched ones: `above` and `below` are of
# `hold_rows`, float32 (P, width or more), `weight` is the share of the one below, and `start` says which pixels. S is
# blended anew in each loop: to keep it costs more, as loads that follow a store wait for it if their addresses look
# alike.


@inlined
def blended(above: Array, below: Array, weight: np.float32, at: int) -> Floats:
    """Return LANES pixels of a plane; they begin at `at` in both rows."""
    a = load(above, at)
    return fused(load(below, at) - a, weight, a)


@kernel
def two_largest(
    above: Array, below: Array, weight: np.float32, classes: int, start: int
) -> tuple[Floats, Floats, Floats]:
    """Return the largest and the second largest of the classes, and the sum of all but the largest."""
    first, second = blended(above, below, weight, start), splat(np.float32(-np.inf))
    others = splat(np.float32(0.0))
    for k in range(1, classes):
        x = blended(above, below, weight, k * above.shape[1] + start)
        # Of x and the largest of the classes before it the lesser is not the largest of all: nothing has to be taken
        # off the sum, which would cancel.
        left = lesser(x, first)
        second, others = greater(second, left), others + left
        first = greater(first, x)
    return first, second, others


@inlined
def x_log2_x(x: Floats) -> Floats:
    """Return x log2 x, and 0 for 0."""
    return x * log2(greater(x, SMALLEST))


@kernel
def mix_ratios(
    above: Array, below: Array, weight: np.float32, classes: int, start: int, inverse: Floats, second: Floats
) -> Floats:
    """Return -sum over k != argmax of x_k log2 x_k, with x_k = S_k / max S.

    Each S is taken as no larger than the second largest, so that the argmax adds what that adds; taking it off once
    leaves the sum over all others, the second largest among them, and nothing cancels. `inverse` is 1 / max S.
    """
    mixed = x_log2_x(second * inverse)
    for k in range(classes):
        S = lesser(blended(above, below, weight, k * above.shape[1] + start), second)
        mixed = mixed - x_log2_x(S * inverse)
    return mixed


@inlined
def sum_of_tanh(a: Floats, b: Floats) -> Floats:
    """Return tanh a + tanh b for numbers that are not negative, with one division."""
    ea, eb = exp2(a * (np.float32(-2.0) * LOG2E)), exp2(b * (np.float32(-2.0) * LOG2E))
    one = np.float32(1.0)
    return np.float32(2.0) * (one - ea * eb) / ((one + ea) * (one + eb))


@kernel
def sum_saturated(above: Array, below: Array, weight: np.float32, classes: int, start: int) -> tuple[Floats, Floats]:
    """Return sum_k tanh(S_k) and sum_k S_k."""
    saturated, total = splat(np.float32(0.0)), splat(np.float32(0.0))
    for k in range(0, classes, 2):
        # Two classes share a division. The last one of an odd number is paired with 0, which adds nothing.
        a = blended(above, below, weight, k * above.shape[1] + start)
        b = splat(np.float32(0.0))
        if k + 1 < classes:
            b = blended(above, below, weight, (k + 1) * above.shape[1] + start)
        saturated = saturated + sum_of_tanh(a, b)
        total = total + (a + b)
    return saturated, total


@kernel
def sum_exponentials(above: Array, below: Array, weight: np.float32, classes: int, start: int, top: Floats) -> Floats:
    """Return sum_k exp(S_k - max S)."""
    total = splat(np.float32(0.0))
    for k in range(classes):
        total = total + exp2((blended(above, below, weight, k * above.shape[1] + start) - top) * LOG2E)
    return total


@kernel
def sum_classes(
    above: Array, below: Array, weight: np.float32, classes: int, starts: Array, wanted: Array, row: Row
) -> None:
    """Fill what the wanted ranks need of a row; `starts`, int64 (n // LANES,), are its blocks."""
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        top, second, others = two_largest(above, below, weight, classes, start)
        store(row.top, to, top)
        # Where no query claims a pixel max S is 0. The inverse stays finite, and `rank_classes` sets r afterwards.
        inverse = np.float32(1.0) / greater(top, SMALLEST)
        store(row.rest, to, others * inverse)
        if wanted[ENTROPY]:
            store(row.mixed, to, mix_ratios(above, below, weight, classes, start, inverse, second))
        if wanted[RBA] or wanted[NEG_SUM]:
            saturated, total = sum_saturated(above, below, weight, classes, start)
            store(row.saturated, to, saturated)
            store(row.total, to, total)
        if wanted[MASK_ENERGY]:
            store(row.exponentials, to, sum_exponentials(above, below, weight, classes, start, top))


# The loops below are short, as those of `pixel_ranks`. All arrays are float32 (n,) or longer, n a multiple of LANES.


@kernel
def rank_msp(r: Array, log2_others: np.float32, msp: Array) -> None:
    """Write the rank of `msp` from r of `Row`."""
    for at in range(0, r.size, LANES):
        store(msp, at, log2(greater(load(r, at), SMALLEST)) - log2_others)


@kernel
def rank_entropy(r: Array, mixed: Array, log_classes: np.float32, entropies: Array) -> None:
    """Write the rank of `entropy` from r and `mixed` of `Row`."""
    for at in range(0, r.size, LANES):
        rest = load(r, at)
        entropy = log1p(rest) + load(mixed, at) * LN2 / (rest + ONE)
        odds = greater(entropy, SMALLEST) / greater(log_classes - entropy, SMALL)
        store(entropies, at, offset(log2(odds), ENTROPY_OFFSET))


@kernel
def rank_left(whole: np.float32, part: Array, left: Array) -> None:
    """Write what is left of a whole without a part."""
    for at in range(0, part.size, LANES):
        store(left, at, whole - load(part, at))


@kernel
def rank_exponentials(top: Array, exponentials: Array, sharp: np.float32, mask_energy: Array) -> None:
    """Write the rank of `mask-energy`, relative to its value `sharp` for a perfectly confident pixel."""
    for at in range(0, top.size, LANES):
        store(mask_energy, at, sharp - load(top, at) - log2(load(exponentials, at)) * LN2)


@kernel
def rank_classes(classes: int, wanted: Array, row: Row) -> None:
    """Write the wanted ranks that are functions of the K class planes, MSP to MASK_ENERGY, from the sums of a row."""
    K, ranks, n = np.float32(classes), row.ranks, row.top.size
    if wanted[MSP] or wanted[ENTROPY]:
        even = splat(K - ONE)
        for at in range(0, n, LANES):  # where no query claims the pixel, all S are 0 and count as equal
            store(row.rest, at, where_greater(load(row.top, at), np.float32(0.0), load(row.rest, at), even))
    sharp = np.float32(np.log(np.exp(1.0) + classes - 1.0))  # logsumexp of a perfectly confident pixel
    if wanted[MSP]:
        rank_msp(row.rest, log2(K - ONE), ranks[MSP])
    if wanted[ENTROPY]:
        rank_entropy(row.rest, row.mixed, log2(K) * LN2, ranks[ENTROPY])
    if wanted[MASK_ENERGY]:
        rank_exponentials(row.top, row.exponentials, sharp, ranks[MASK_ENERGY])
    if wanted[RBA]:
        rank_left(np.float32(np.tanh(1.0)), row.saturated, ranks[RBA])
    if wanted[NEG_SUM]:
        rank_left(ONE, row.total, ranks[NEG_SUM])
    if wanted[MASK2ANOMALY]:
        rank_left(ONE, row.top, ranks[MASK2ANOMALY])


@kernel
def rank_maps(above: Array, below: Array, weight: np.float32, starts: Array, ranks: Array) -> None:
    """Write the ranks that are single maps, EAM to RBA_NORMALIZED, from two stretched rows (SINGLE_MAPS, width)."""
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        store(ranks[EAM], to, ONE - blended(above, below, weight, start))
        store(ranks[VOID], to, blended(above, below, weight, above.shape[1] + start))
        store(ranks[RBA_NORMALIZED], to, blended(above, below, weight, 2 * above.shape[1] + start))


@kernel
def rank_maxlogit(above: Array, below: Array, weight: np.float32, classes: int, starts: Array, row: Row) -> None:
    """Write the rank of `maxlogit`."""
    for block in range(starts.size):
        top, _, _ = two_largest(above, below, weight, classes, starts[block])
        store(row.top, block * LANES, top)
    pixel_ranks.rank_maxlogit(row.top, row.top.size, row.ranks, MAXLOGIT)


@kernel
def finish(
    stretched: Array,
    first_row: int,
    weight: np.float32,
    classes: int,
    starts: Array,
    wanted: Array,
    t: int,  # noqa: ARG001 - of `mask_more.finish_more`
    room: Row,
) -> Array:
    """Return the wanted ranks of some blocks of a row between two rows of planes: float32 (ROWS, at least n).

    Parameters
    ----------
    stretched : float32 (2, P, width or more) of `hold_rows`. P = classes + SINGLE_MAPS, none negative; or
        P = classes, those of `maxlogit`, and only that rank is written
    first_row : the source row before
    weight : the share of the one after
    classes : K
    starts : int64 (n // LANES,), where the blocks begin, see `picking`
    wanted : bool (ROWS,); what none of them needs is not computed
    room : of `make_row`, written
    """
    row = shortened(room, starts.size * LANES)
    above, below = stretched[first_row % 2], stretched[(first_row + 1) % 2]
    # Planes of `maxlogit` come without the single maps: their number tells the two cases apart.
    if stretched.shape[1] > classes:
        of_classes = False
        for score in range(MASK_ENERGY + 1):
            of_classes |= wanted[score]
        if of_classes:
            sum_classes(above, below, weight, classes, starts, wanted, row)
            rank_classes(classes, wanted, row)
        rank_maps(above[classes:], below[classes:], weight, starts, row.ranks)
    else:
        rank_maxlogit(above, below, weight, classes, starts, row)
    return row.ranks
