"""Ranks of pixel networks, at one temperature after another.

With m1 >= m2 the two largest logits of a pixel and r = sum over k != argmax of exp((z_k - m1) / T), every score is
a function of r, of m1 and of u = sum over k of (m2 - z_k)/T exp((z_k - m2) / T). Taking the exponentials relative
to the *second* largest logit keeps r exact where 1 - max softmax has long rounded to zero.

Scores leave here as ranks: strictly increasing functions of the formulas (see `scales.py`), which is all that
AuPRC, FPR95 and AUROC see.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LEAST_EXPONENT, LN2, LOG2E, exp2, exp2_product, log1p, log2
from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel
from logitpipe.stages.score.kernels.vectors import (
    LANES,
    apart,
    as_float,
    as_int,
    fused,
    greater,
    lanes,
    lesser,
    load,
    splat,
    store,
)

MSP, ENTROPY, ENERGY, VOID, MAXLOGIT = 0, 1, 2, 3, 4
"""Rows of the ranks; the last one depends on no temperature."""
ROWS = 5
WORK_ROWS = 6

LOGIT_OFFSET, ENTROPY_OFFSET = np.float32(8.0), np.float32(1.0)
"""Move ranks away from zero, so that bins are of even width around it instead of ever finer."""
SMALL = np.float32(2.0**-20)


@inlined
def offset(value: np.float32, by: np.float32) -> np.float32:
    """Return a value moved away from zero."""
    return value + (by if value >= np.float32(0.0) else -by)


class Row(NamedTuple):
    """Values that all temperatures share, of n pixels and C in-distribution classes; n is a multiple of LANES.

    Parameters
    ----------
    distance : float32 (n * C,), min(z_k - m2, 0) log2 e, the classes of LANES pixels together, then those of the next
    void : float32 (n,), (z_void - m1) log2 e, or (0,) where there is no such plane
    top : float32 (n,), m1
    gap : float32 (n,), (m1 - m2) log2 e
    work : float32 (WORK_ROWS, at least n), written over
    """

    distance: Array
    void: Array
    top: Array
    gap: Array
    work: Array


def make_row(planes: int, classes: int, width: int) -> Row:
    """Return room for a row of an image; the first planes are the classes, another may be void."""
    n = apart(width)
    distance, void = np.empty(n * classes, np.float32), np.empty(n if planes > classes else 0, np.float32)
    return Row(distance, void, np.empty(n, np.float32), np.empty(n, np.float32), np.empty((WORK_ROWS, n), np.float32))


@kernel
def shortened(row: Row, n: int) -> Row:
    """Return the first n pixels of a row."""
    classes = row.distance.size // row.top.size
    return Row(row.distance[: n * classes], row.void[:n], row.top[:n], row.gap[:n], row.work)


def make_ranks(width: int) -> Array:
    """Return room for the ranks of a row: float32 (ROWS, n)."""
    return np.empty((ROWS, apart(width)), np.float32)


@kernel
def prepare(z: Array, starts: Array, room: Row) -> tuple[Row, np.float32]:
    """Compute what all temperatures share (largest logits and distances) for some blocks of a row of an image.

    Parameters
    ----------
    z : float32 (P, at least width), logits: planes of the classes, then perhaps one of void
    starts : int64 (m,), where the blocks begin, see `picking`
    room : of `make_row`, written

    Returns
    -------
    row : the part of `room` that is of those m * LANES pixels
    lowest : the least distance
    """
    row = shortened(room, starts.size * LANES)
    length, classes, none = z.shape[1], room.distance.size // room.top.size, np.float32(0.0)
    lowest = splat(none)
    for block in range(starts.size):
        start, to = starts[block], block * LANES
        first, second = splat(np.float32(-np.inf)), splat(np.float32(-np.inf))
        for k in range(classes):
            x = load(z, k * length + start)
            # The second largest comes first, as it needs the largest of the classes before x.
            second = greater(second, lesser(x, first))
            first = greater(first, x)
        for k in range(classes):
            # Cut off at 0, which only the largest logit exceeds: it then adds exactly 1 to each sum of exponentials.
            distance = lesser(load(z, k * length + start) - second, none) * LOG2E
            lowest = lesser(lowest, distance)
            store(row.distance, to * classes + k * LANES, distance)
        store(row.top, to, first)
        store(row.gap, to, (first - second) * LOG2E)
        if row.void.size > 0:
            store(row.void, to, (load(z, classes * length + start) - first) * LOG2E)
    of_lanes, least = lanes(lowest), none
    for i in range(LANES):
        least = lesser(least, of_lanes[i])
    return row, least


@kernel
def count_infinite(z: Array) -> int:
    """Return how many numbers of float32 (P, n) are NaN or infinite; n is a multiple of LANES."""
    zeros = splat(np.int32(0))
    for start in range(0, z.size, LANES):
        x = load(z, start)
        zeros = zeros | as_int(x - x)  # of any finite number 0, of others NaN
    sums, broken, found = lanes(as_float(zeros)), 0, 0
    for i in range(LANES):
        broken += sums[i] != np.float32(0.0)
    if broken > 0:
        for p in range(z.shape[0]):
            for i in range(z.shape[1]):
                found += not np.isfinite(z[p, i])
    return found


@kernel
def at_least(distance: Array, least: np.float32) -> Array:
    """Return float32 (n,), no number below `least`."""
    out = np.empty_like(distance)
    for i in range(out.size):
        out[i] = max(distance[i], least)
    return out


@kernel
def sum_exponentials(distance: Array, classes: int, inverse_T: np.float32, others: Array, moment: Array) -> None:
    """Write sum over k != argmax of e_k and sum_k d_k e_k with e_k = 2**(d_k / T).

    Parameters
    ----------
    distance : of `Row`, not below LEAST_EXPONENT * T
    others, moment : float32 (n,), written
    """
    for start in range(0, others.size, LANES):
        # The largest logit adds exactly 1 to the first sum, and 0 to the other.
        total, weighted = splat(np.float32(-1.0)), splat(np.float32(0.0))
        for place in range(start * classes, (start + LANES) * classes, LANES):
            d = load(distance, place)
            e = exp2_product(d, inverse_T)
            total = total + e
            weighted = fused(d, e, weighted)
        store(others, start, total)
        store(moment, start, weighted)


@kernel
def sum_others(distance: Array, classes: int, inverse_T: np.float32, others: Array) -> None:
    """Write the first sum of `sum_exponentials`, for methods that need no other."""
    for start in range(0, others.size, LANES):
        total = splat(np.float32(-1.0))
        for place in range(start * classes, (start + LANES) * classes, LANES):
            total = total + exp2_product(load(distance, place), inverse_T)
        store(others, start, total)


@kernel
def rank_maxlogit(top: Array, ranks: Array) -> None:
    """Write the rank of `maxlogit`: m1 of `Row`, float32 (n,), into its row of float32 (ROWS, n)."""
    for i in range(top.size):
        ranks[MAXLOGIT, i] = offset(-top[i], LOGIT_OFFSET)


# The loops below are short, and write to two arrays at most. In a long one each number waits for the one before, and
# a processor sees too few pixels ahead to do something else meanwhile; with more arrays compilers cannot tell that
# they do not overlap.


@kernel
def weigh_others(others: Array, gap: Array, inverse_T: np.float32, shrink: Array, rest: Array) -> None:
    """Write g = exp((m2 - m1) / T) and r = g * others: float32 (n,) each."""
    for i in range(others.size):
        shrink[i] = exp2(-gap[i] * inverse_T)
        rest[i] = others[i] * shrink[i]


@kernel
def rank_msp(others: Array, gap: Array, inverse_T: np.float32, log2_others: np.float32, msp: Array) -> None:
    """Write the rank of `msp`, log2 r - log2 (K - 1): float32 (n,)."""
    for i in range(others.size):
        msp[i] = log2(others[i]) - gap[i] * inverse_T - log2_others


@kernel
def log1p_all(x: Array, out: Array) -> None:
    """Write ln(1 + x) for x >= 0: float32 (n,)."""
    for i in range(x.size):
        out[i] = log1p(x[i])


@kernel
def weigh_entropy(work: Array, gap: Array, inverse_T: np.float32, log_classes: np.float32, odds: Array) -> None:
    """Write H / (ln C - H), or that over g where r is small; H is the entropy, g of `weigh_others`.

    H = ln(1 + r) + sum over k != argmax of p_k (m1 - z_k)/T: no term is negative, nothing cancels. Where r is small,
    H = g (others + spread), of which only the logarithm is sure to be representable. Numerator and denominator are
    taken times 1 + r, which leaves one division.

    Parameters
    ----------
    work : float32 (WORK_ROWS, at least n) of `temper`
    odds : float32 (n,), written
    """
    others, moment, shrink, rest, log1r = work[0], work[1], work[2], work[3], work[4]
    for i in range(odds.size):
        spread = (gap[i] * others[i] - moment[i]) * inverse_T * LN2
        sum1 = np.float32(1.0) + rest[i]
        entropy = log1r[i] * sum1 + shrink[i] * spread
        part = others[i] + spread if rest[i] < SMALL else entropy
        odds[i] = part / max(log_classes * sum1 - entropy, SMALL * sum1)


@kernel
def rank_entropy(odds: Array, rest: Array, gap: Array, inverse_T: np.float32, entropies: Array) -> None:
    """Write the rank of `entropy`, log2 H / (ln C - H), from `odds` of `weigh_entropy` and r: float32 (n,) each."""
    for i in range(odds.size):
        shrunk = gap[i] * inverse_T if rest[i] < SMALL else np.float32(0.0)
        entropies[i] = offset(log2(odds[i]) - shrunk, ENTROPY_OFFSET)


@kernel
def rank_energy(top: Array, log1r: Array, T: np.float32, log_classes: np.float32, energies: Array) -> None:
    """Write the rank of `energy` from m1 and ln(1 + r): float32 (n,)."""
    for i in range(top.size):
        energies[i] = offset(-(top[i] + T * (log1r[i] - log_classes)), LOGIT_OFFSET)


@kernel
def rank_void(relative: Array, rest: Array, inverse_T: np.float32, log2_classes: np.float32, void: Array) -> None:
    """Write the rank of `void` from (z_void - m1) log2 e and r: float32 (n,)."""
    for i in range(rest.size):
        void[i] = relative[i] * inverse_T - log2(np.float32(1.0) + rest[i]) + log2_classes


@kernel
def temper(row: Row, lowest: np.float32, T: np.float32, wanted: Array, ranks: Array) -> None:
    """Write the ranks of some methods at one temperature; what none of them needs is not computed.

    Parameters
    ----------
    row, lowest : of `prepare`, at least one block
    T : temperature
    wanted : bool (ROWS,), which ranks; that of `void` needs a void plane, that of `maxlogit` is not for this function
    ranks : float32 (ROWS, at least n), written
    """
    distance, void, top, gap, work, n = row.distance, row.void, row.top, row.gap, row.work, row.top.size
    others, moment, shrink = work[0][:n], work[1][:n], work[2][:n]
    rest, log1r, odds = work[3][:n], work[4][:n], work[5][:n]
    classes, inverse_T = distance.size // n, np.float32(1.0) / T
    log2_classes, log2_others = log2(np.float32(classes)), log2(np.float32(classes - 1))
    log_classes = log2_classes * LN2
    if not (wanted[MSP] or wanted[ENTROPY] or wanted[ENERGY] or wanted[VOID]):
        return
    # What is lower still vanishes beside the second largest logit, but would leave the range of exponents. Hardly any
    # row has such a distance, so that the loop, where each operation counts, does not look for one.
    within = distance if lowest * inverse_T >= LEAST_EXPONENT else at_least(distance, LEAST_EXPONENT * T)
    if wanted[ENTROPY]:
        sum_exponentials(within, classes, inverse_T, others, moment)
    else:
        sum_others(within, classes, inverse_T, others)
    if wanted[MSP]:
        rank_msp(others, gap, inverse_T, log2_others, ranks[MSP])
    if wanted[ENTROPY] or wanted[ENERGY] or wanted[VOID]:
        weigh_others(others, gap, inverse_T, shrink, rest)
    if wanted[ENTROPY] or wanted[ENERGY]:
        log1p_all(rest, log1r)
    if wanted[ENTROPY]:
        weigh_entropy(work, gap, inverse_T, log_classes, odds)
        rank_entropy(odds, rest, gap, inverse_T, ranks[ENTROPY])
    if wanted[ENERGY]:
        rank_energy(top, log1r, T, log_classes, ranks[ENERGY])
    if wanted[VOID]:
        rank_void(void, rest, inverse_T, log2_classes, ranks[VOID])
