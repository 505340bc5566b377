"""Ranks of pixel networks, at one temperature after another.

With m1 >= m2 the two largest logits of a pixel and r = sum over k != argmax of exp((z_k - m1) / T), every score is
a function of r, of m1 and of u = sum over k of (m2 - z_k)/T exp((z_k - m2) / T). Taking the exponentials relative
to the *second* largest logit keeps r exact where 1 - max softmax has long rounded to zero.

Scores leave here as ranks: strictly increasing functions of the formulas (see `scales.py`), which is all that
AuPRC, FPR95 and AUROC see.
"""

import numpy as np

from stages.score.kernels.arithmetic import LEAST_EXPONENT, LN2, LOG2E, as_int, exp2, exp2_within, log1p, log2
from stages.score.kernels.compiled import Array, inlined, kernel

MSP, ENTROPY, ENERGY, VOID, MAXLOGIT = 0, 1, 2, 3, 4
"""Rows of the ranks; the last one depends on no temperature."""
ROWS = 5
WORK_ROWS = 6

LOGIT_OFFSET, ENTROPY_OFFSET = np.float32(8.0), np.float32(1.0)
"""Move ranks away from zero, so that bins are of even width around it instead of ever finer."""
SMALL = np.float32(2.0**-20)
SMALLEST = np.float32(1e-37)
INFINITE = np.int32(0x7F800000)
"""The pattern of infinity; those of NaN are greater."""


@inlined
def offset(value: np.float32, by: np.float32) -> np.float32:
    """Return a value moved away from zero."""
    return value + (by if value >= np.float32(0.0) else -by)


@kernel
def two_largest(z: Array, first: Array, second: Array) -> None:
    """Write the largest and the second largest of float32 (C, n), two planes at a time: float32 (n,) each."""
    first[:] = -np.inf
    second[:] = -np.inf
    pairs = z.shape[0] - z.shape[0] % 2
    for k in range(0, pairs, 2):
        for i in range(first.size):
            high, low = max(z[k, i], z[k + 1, i]), min(z[k, i], z[k + 1, i])
            second[i] = max(max(second[i], low), min(first[i], high))
            first[i] = max(first[i], high)
    for k in range(pairs, z.shape[0]):
        for i in range(first.size):
            second[i] = max(second[i], min(first[i], z[k, i]))
            first[i] = max(first[i], z[k, i])


@kernel
def prepare(z: Array, classes: int, distance: Array, top: Array, gap: Array) -> tuple[int, np.float32]:
    """Do what no temperature changes.

    Parameters
    ----------
    z : float32 (P, n), logits of n pixels; the first `classes` planes are C, another may be void
    classes : number of in-distribution classes, at least 2
    distance : float32 (P, n), written: min(z_k - m2, 0) log2 e for k in C, (z_void - m1) log2 e for void
    top : float32 (n,), written: m1
    gap : float32 (n,), written: (m1 - m2) log2 e

    Returns
    -------
    damaged : number of logits that are not finite
    lowest : the least distance
    """
    n = z.shape[1]
    two_largest(z[:classes], top, gap)
    largest, lowest = np.int32(0), np.float32(0.0)
    for k in range(z.shape[0]):
        for i in range(n):
            distance[k, i] = (z[k, i] - top[i] if k >= classes else min(z[k, i] - gap[i], np.float32(0.0))) * LOG2E
            largest = max(largest, np.int32(as_int(z[k, i]) & np.int32(0x7FFFFFFF)))
            lowest = min(lowest, distance[k, i])
    for i in range(n):
        gap[i] = (top[i] - gap[i]) * LOG2E
    return (0 if largest < INFINITE else count_infinite(z)), lowest


@kernel
def count_infinite(z: Array) -> int:
    """Return how many numbers of float32 (P, n) are NaN or infinite."""
    found = 0
    for number in z.flat:
        if (as_int(number) & np.int32(0x7FFFFFFF)) >= INFINITE:
            found += 1
    return found


@kernel
def at_least(distance: Array, least: np.float32) -> Array:
    """Return float32 (P, n), no number below `least`."""
    out = np.empty_like(distance)
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[k, i] = max(distance[k, i], least)
    return out


@kernel
def sum_exponentials(distance: Array, classes: int, inverse_T: np.float32, others: Array, moment: Array) -> None:
    """Write sum over k != argmax of e_k and sum_k d_k e_k with e_k = 2**(d_k / T), four classes at a time.

    Parameters
    ----------
    distance : float32 (P, n) of `prepare`, not below LEAST_EXPONENT * T
    others, moment : float32 (n,), written
    """
    n = others.size
    others[:] = np.float32(-1.0)  # the largest logit adds exactly 1 here, and 0 to the moment
    moment[:] = np.float32(0.0)
    quads = classes - classes % 4
    for k in range(0, quads, 4):
        for i in range(n):
            a, b, c, d = distance[k, i], distance[k + 1, i], distance[k + 2, i], distance[k + 3, i]
            ea, eb = exp2_within(a * inverse_T), exp2_within(b * inverse_T)
            ec, ed = exp2_within(c * inverse_T), exp2_within(d * inverse_T)
            others[i] += (ea + eb) + (ec + ed)
            moment[i] += (a * ea + b * eb) + (c * ec + d * ed)
    for k in range(quads, classes):
        for i in range(n):
            e = exp2_within(distance[k, i] * inverse_T)
            others[i] += e
            moment[i] += distance[k, i] * e


@kernel
def rank_maxlogit(top: Array, ranks: Array) -> None:
    """Write the rank of `maxlogit`: float32 (n,) of `prepare` into its row of float32 (ROWS, n)."""
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
def rank_entropy(
    work: Array, gap: Array, inverse_T: np.float32, log_classes: np.float32, odds: Array, entropies: Array
) -> None:
    """Write the rank of `entropy`.

    H = ln(1 + r) + sum over k != argmax of p_k (m1 - z_k)/T: no term is negative, nothing cancels. Where r is small,
    H = g (others + spread), of which only the logarithm is sure to be representable.

    Parameters
    ----------
    work : float32 (WORK_ROWS, n) of `temper`
    odds : float32 (n,), written over
    entropies : float32 (n,), written
    """
    others, moment, shrink, rest, log1r = work[0], work[1], work[2], work[3], work[4]
    for i in range(others.size):
        spread = (gap[i] * others[i] - moment[i]) * inverse_T * LN2
        entropy = log1r[i] + shrink[i] * spread / (np.float32(1.0) + rest[i])
        part = others[i] + spread if rest[i] < SMALL else entropy
        odds[i] = part / max(log_classes - entropy, SMALL)
    for i in range(others.size):
        shrunk = gap[i] * inverse_T if rest[i] < SMALL else np.float32(0.0)
        entropies[i] = offset(log2(odds[i]) - shrunk, ENTROPY_OFFSET)


@kernel
def rank_energy(top: Array, log1r: Array, T: np.float32, log_classes: np.float32, energies: Array) -> None:
    """Write the rank of `energy` from m1 and ln(1 + r): float32 (n,)."""
    for i in range(top.size):
        energies[i] = offset(-(top[i] + T * (log1r[i] - log_classes)), LOGIT_OFFSET)


@kernel
def rank_void(distance: Array, rest: Array, inverse_T: np.float32, log2_classes: np.float32, void: Array) -> None:
    """Write the rank of `void` from (z_void - m1) log2 e and r: float32 (n,)."""
    for i in range(rest.size):
        void[i] = distance[i] * inverse_T - log2(np.float32(1.0) + rest[i]) + log2_classes


@kernel
def temper(
    distance: Array,
    lowest: np.float32,
    top: Array,
    gap: Array,
    classes: int,
    T: np.float32,
    work: Array,
    ranks: Array,
) -> None:
    """Write the ranks of `msp`, `entropy`, `energy` and, where there is a void plane, `void` at one temperature.

    Parameters
    ----------
    distance, lowest, top, gap : of `prepare`
    T : temperature
    work : float32 (WORK_ROWS, n), written over
    ranks : float32 (ROWS, n), written
    """
    inverse_T, log2_classes = np.float32(1.0) / T, log2(np.float32(classes))
    log2_others, log_classes = log2(np.float32(classes - 1)), log2_classes * LN2
    others, moment, shrink, rest, log1r = work[0], work[1], work[2], work[3], work[4]
    # What is lower still vanishes beside the second largest logit, but would leave the range of exponents. Bounding
    # every distance in the loop would make that an eighth slower, and hardly any band needs it.
    within = distance if lowest * inverse_T >= LEAST_EXPONENT else at_least(distance, LEAST_EXPONENT * T)
    sum_exponentials(within, classes, inverse_T, others, moment)
    weigh_others(others, gap, inverse_T, shrink, rest)
    log1p_all(rest, log1r)
    rank_msp(others, gap, inverse_T, log2_others, ranks[MSP])
    rank_entropy(work, gap, inverse_T, log_classes, work[5], ranks[ENTROPY])
    rank_energy(top, log1r, T, log_classes, ranks[ENERGY])
    if distance.shape[0] > classes:
        rank_void(distance[classes], rest, inverse_T, log2_classes, ranks[VOID])
