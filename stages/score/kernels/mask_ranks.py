"""Scores of mask networks at one temperature, from planes at the store's mask resolution.

S_k = sum_q P_qk M_q. The K planes S are resampled to the evaluation size row by row and the last step of every
formula is taken on the row, so that no map of K classes ever exists at that size. With r = sum over k != argmax of
S_k / max S, `msp` and `entropy` are functions of r and of the ratios alone; nothing cancels.

Scores leave here as ranks, see `scales.py`.
"""

import numpy as np

from stages.score.kernels.arithmetic import LN2, LOG2E, exp2, log1p, log2
from stages.score.kernels.compiled import Array, inlined, kernel
from stages.score.kernels.pixel_ranks import ENTROPY_OFFSET, LOGIT_OFFSET, SMALL, SMALLEST, offset, two_largest

MSP, ENTROPY, RBA, MASK2ANOMALY, NEG_SUM, MASK_ENERGY, EAM, VOID, RBA_NORMALIZED, MAXLOGIT = range(10)
"""Rows of the ranks."""
ROWS = 10
WORK_ROWS = 8
SINGLE_MAPS = 3
"""Planes after the K classes whose score is a single map already: eam, void, rba-normalized."""

# Each of the following loops writes to two arrays at most: with more, compilers cannot tell that they do not
# overlap, and leave the loop scalar, five times slower. Classes are taken four at a time, so that sums are loaded and
# stored less often.


@kernel
def invert(top: Array, inverse: Array) -> None:
    """Write 1 / max S, and 0 where that is 0: float32 (n,)."""
    for i in range(top.size):
        inverse[i] = np.float32(1.0) / max(top[i], SMALLEST) if top[i] > np.float32(0.0) else np.float32(0.0)


@inlined
def x_log2_x(x: np.float32) -> np.float32:
    """Return x log2 x, and 0 for 0."""
    return x * log2(max(x, SMALLEST))


@kernel
def sum_ratios(S: Array, second: Array, inverse: Array, rest: Array, mixed: Array) -> None:
    """Write r = sum over k != argmax of x_k, and -sum over the same k of x_k log2 x_k, with x_k = S_k / max S.

    Each S is taken as no larger than the second largest, so that the argmax adds what that adds; taking it off once
    leaves the sums over all others, the second largest among them, and nothing cancels.

    Parameters
    ----------
    S : float32 (K, n), not negative; where all are 0, as no query claims the pixel, they count as equal
    second, inverse : float32 (n,), the second largest S and 1 / max S, 0 where that is 0
    rest, mixed : float32 (n,), written
    """
    n, quads = rest.size, S.shape[0] - S.shape[0] % 4
    for i in range(n):
        x = second[i] * inverse[i]
        rest[i], mixed[i] = -x, x_log2_x(x)
    for k in range(0, quads, 4):
        for i in range(n):
            a, b = min(S[k, i], second[i]) * inverse[i], min(S[k + 1, i], second[i]) * inverse[i]
            c, d = min(S[k + 2, i], second[i]) * inverse[i], min(S[k + 3, i], second[i]) * inverse[i]
            rest[i] += (a + b) + (c + d)
            mixed[i] -= (x_log2_x(a) + x_log2_x(b)) + (x_log2_x(c) + x_log2_x(d))
    for k in range(quads, S.shape[0]):
        for i in range(n):
            x = min(S[k, i], second[i]) * inverse[i]
            rest[i] += x
            mixed[i] -= x_log2_x(x)
    for i in range(n):
        rest[i] = rest[i] if inverse[i] > np.float32(0.0) else np.float32(S.shape[0] - 1)


@inlined
def sum_of_tanh(a: np.float32, b: np.float32) -> np.float32:
    """Return tanh a + tanh b for numbers that are not negative, with one division."""
    ea, eb = exp2(a * (np.float32(-2.0) * LOG2E)), exp2(b * (np.float32(-2.0) * LOG2E))
    one = np.float32(1.0)
    return np.float32(2.0) * (one - ea * eb) / ((one + ea) * (one + eb))


@kernel
def sum_saturated(S: Array, saturated: Array, total: Array) -> None:
    """Write sum_k tanh(S_k) and sum_k S_k: float32 (n,)."""
    n, quads = total.size, S.shape[0] - S.shape[0] % 4
    saturated[:] = np.float32(0.0)
    total[:] = np.float32(0.0)
    for k in range(0, quads, 4):
        for i in range(n):
            a, b, c, d = S[k, i], S[k + 1, i], S[k + 2, i], S[k + 3, i]
            saturated[i] += sum_of_tanh(a, b) + sum_of_tanh(c, d)
            total[i] += (a + b) + (c + d)
    for k in range(quads, S.shape[0]):
        for i in range(n):
            saturated[i] += sum_of_tanh(S[k, i], np.float32(0.0))
            total[i] += S[k, i]


@inlined
def relative_exponential(x: np.float32, top: np.float32) -> np.float32:
    """Return exp(x - top)."""
    return exp2((x - top) * LOG2E)


@kernel
def sum_relative_exponentials(S: Array, top: Array, exponentials: Array) -> None:
    """Write sum_k exp(S_k - max S): float32 (n,)."""
    n, quads = top.size, S.shape[0] - S.shape[0] % 4
    exponentials[:] = np.float32(0.0)
    for k in range(0, quads, 4):
        for i in range(n):
            ab = relative_exponential(S[k, i], top[i]) + relative_exponential(S[k + 1, i], top[i])
            cd = relative_exponential(S[k + 2, i], top[i]) + relative_exponential(S[k + 3, i], top[i])
            exponentials[i] += ab + cd
    for k in range(quads, S.shape[0]):
        for i in range(n):
            exponentials[i] += relative_exponential(S[k, i], top[i])


@kernel
def rank_ratios(
    r: Array, mixed: Array, log_classes: np.float32, msp: Array, entropies: Array, log2_others: np.float32
) -> None:
    """Write the ranks of `msp` and `entropy` from r and `mixed` of `sum_ratios`: float32 (n,) each."""
    for i in range(r.size):
        msp[i] = log2(max(r[i], SMALLEST)) - log2_others
        entropy = log1p(r[i]) + mixed[i] * LN2 / (np.float32(1.0) + r[i])
        odds = max(entropy, SMALLEST) / max(log_classes - entropy, SMALL)
        entropies[i] = offset(log2(odds), ENTROPY_OFFSET)


@kernel
def rank_exponentials(top: Array, exponentials: Array, sharp: np.float32, mask_energy: Array) -> None:
    """Write the rank of `mask-energy`, relative to its value `sharp` for a perfectly confident pixel."""
    for i in range(top.size):
        mask_energy[i] = sharp - top[i] - log2(exponentials[i]) * LN2


@kernel
def finish_classes(S: Array, work: Array, ranks: Array) -> None:
    """Write the ranks that are functions of the K class planes.

    Parameters
    ----------
    S : float32 (K, n), not negative
    work : float32 (WORK_ROWS, n), written over
    ranks : float32 (ROWS, n), rows MSP to MASK_ENERGY written
    """
    K, n = S.shape
    top, second, rest, mixed = work[0], work[1], work[2], work[3]
    saturated, total, exponentials, inverse = work[4], work[5], work[6], work[7]
    two_largest(S, top, second)
    invert(top, inverse)
    sum_ratios(S, second, inverse, rest, mixed)
    sum_saturated(S, saturated, total)
    sum_relative_exponentials(S, top, exponentials)
    tanh1 = np.float32(np.tanh(1.0))
    sharp = np.float32(np.log(np.exp(1.0) + K - 1.0))  # logsumexp of a perfectly confident pixel
    log_classes, log2_others = log2(np.float32(K)) * LN2, log2(np.float32(K - 1))
    rank_ratios(rest, mixed, log_classes, ranks[MSP], ranks[ENTROPY], log2_others)
    rank_exponentials(top, exponentials, sharp, ranks[MASK_ENERGY])
    for i in range(n):
        ranks[RBA, i] = tanh1 - saturated[i]
        ranks[NEG_SUM, i] = np.float32(1.0) - total[i]
        ranks[MASK2ANOMALY, i] = np.float32(1.0) - top[i]


@kernel
def finish(z: Array, classes: int, work: Array, ranks: Array) -> None:
    """Write all ranks of n pixels: float32 (P, n) to (ROWS, n), P = classes + SINGLE_MAPS, or classes alone.

    The class planes alone are those of `maxlogit`, and only that row is written.
    """
    if z.shape[0] > classes:
        finish_classes(z[:classes], work, ranks)
        for i in range(z.shape[1]):
            ranks[EAM, i] = np.float32(1.0) - z[classes, i]
            ranks[VOID, i] = z[classes + 1, i]
            ranks[RBA_NORMALIZED, i] = z[classes + 2, i]
    else:
        top = work[0]
        two_largest(z[:classes], top, work[1])
        for i in range(z.shape[1]):
            ranks[MAXLOGIT, i] = offset(-top[i], LOGIT_OFFSET)
