"""Scores of pixel networks: every temperature from one pass over the logits.

With m1 >= m2 the two largest logits of a pixel and r = sum over k != argmax of exp((z_k - m1) / T), every score is
a function of r, of m1 and of u = sum over k of (m2 - z_k)/T exp((z_k - m2) / T). Taking the exponentials relative
to the *second* largest logit keeps r exact where 1 - max softmax has long rounded to zero.

Scores leave here as ranks: strictly increasing functions of the formulas (see `scales.py`), which is all that
AuPRC, FPR95 and AUROC see.
"""

import numpy as np

from stages.score.kernels.arithmetic import LN2, LOG2E, as_int, exp2, log2
from stages.score.kernels.compiled import Array, inlined, kernel
from stages.score.kernels.counting import count_above, place
from stages.score.kernels.counts import Counts, add_waiting
from stages.score.kernels.resampling import Axis, sample_band

MSP, ENTROPY, ENERGY, VOID, MAXLOGIT = 0, 1, 2, 3, 4
"""Rows of the ranks; the last one depends on no temperature."""
ROWS = 5
BAND = 2048
"""Pixels that are prepared together: their logits fit into the second-level cache."""
BANDS = 16
"""Bands whose places are found before they are added to the histograms."""

LOGIT_OFFSET, ENTROPY_OFFSET = np.float32(8.0), np.float32(1.0)
"""Move ranks away from zero, so that bins are of even width around it instead of ever finer."""
SMALL = np.float32(2.0**-20)
SMALLEST = np.float32(1e-37)


@inlined
def entropy_rank(entropy: np.float32, log_classes: np.float32, part: np.float32, log2_rest: np.float32) -> np.float32:
    """Return log2 of H / (ln K - H), offset; H is part * 2**log2_rest where it may be too small for float32."""
    return offset(log2(part / max(log_classes - entropy, SMALL)) + log2_rest, ENTROPY_OFFSET)


@inlined
def offset(value: np.float32, by: np.float32) -> np.float32:
    """Return a value moved away from zero."""
    return value + (by if value >= np.float32(0.0) else -by)


@kernel
def prepare(z: Array, classes: int, distance: Array, top: Array, gap: Array) -> int:
    """Do what no temperature changes; return the number of logits that are not finite.

    Parameters
    ----------
    z : float32 (P, n), logits of n pixels; the first `classes` planes are C, another may be void
    classes : number of in-distribution classes, at least 2
    distance : float32 (P, n), written: min(z_k - m2, 0) log2 e for k in C, (z_void - m1) log2 e for void
    top : float32 (n,), written: m1
    gap : float32 (n,), written: (m1 - m2) log2 e
    """
    n = z.shape[1]
    for i in range(n):
        top[i], gap[i] = max(z[0, i], z[1, i]), min(z[0, i], z[1, i])
    for k in range(2, classes):
        for i in range(n):
            gap[i] = max(gap[i], min(top[i], z[k, i]))
            top[i] = max(top[i], z[k, i])
    damaged = 0
    for k in range(z.shape[0]):
        for i in range(n):
            damaged += (as_int(z[k, i]) & np.int32(0x7F800000)) == np.int32(0x7F800000)
            distance[k, i] = (z[k, i] - top[i] if k >= classes else min(z[k, i] - gap[i], np.float32(0.0))) * LOG2E
    for i in range(n):
        gap[i] = (top[i] - gap[i]) * LOG2E
    return damaged


@kernel
def sum_exponentials(distance: Array, classes: int, inverse_T: np.float32, total: Array, moment: Array) -> None:
    """Write sum_k e_k and sum_k d_k e_k with e_k = 2**(d_k / T), four classes at a time.

    Parameters
    ----------
    distance : float32 (P, n) of `prepare`
    total, moment : float32 (n,), written; the largest logit adds exactly 1 to the one and 0 to the other
    """
    n = total.size
    total[:] = np.float32(0.0)
    moment[:] = np.float32(0.0)
    quads = classes - classes % 4
    for k in range(0, quads, 4):
        for i in range(n):
            a, b, c, d = distance[k, i], distance[k + 1, i], distance[k + 2, i], distance[k + 3, i]
            ea, eb, ec, ed = exp2(a * inverse_T), exp2(b * inverse_T), exp2(c * inverse_T), exp2(d * inverse_T)
            total[i] += (ea + eb) + (ec + ed)
            moment[i] += (a * ea + b * eb) + (c * ec + d * ed)
    for k in range(quads, classes):
        for i in range(n):
            e = exp2(distance[k, i] * inverse_T)
            total[i] += e
            moment[i] += distance[k, i] * e


@kernel
def rank_maxlogit(top: Array, ranks: Array) -> None:
    """Write the rank of `maxlogit`: float32 (n,) of `prepare` into its row of float32 (ROWS, n)."""
    for i in range(top.size):
        ranks[MAXLOGIT, i] = offset(-top[i], LOGIT_OFFSET)


@kernel
def temper(distance: Array, top: Array, gap: Array, classes: int, T: np.float32, sums: Array, ranks: Array) -> None:
    """Write the ranks of `msp`, `entropy`, `energy` and, where there is a void plane, `void` at one temperature.

    Parameters
    ----------
    distance, top, gap : of `prepare`
    T : temperature
    sums : float32 (2, n), written over
    ranks : float32 (ROWS, n), written
    """
    inverse_T, log2_classes = np.float32(1.0) / T, log2(np.float32(classes))
    log2_others, log_classes = log2(np.float32(classes - 1)), log2_classes * LN2
    sum_exponentials(distance, classes, inverse_T, sums[0], sums[1])
    for i in range(top.size):
        others = sums[0, i] - np.float32(1.0)
        a = gap[i] * inverse_T
        g = exp2(-a)
        r = others * g
        sum1 = np.float32(1.0) + r
        inverse = np.float32(1.0) / sum1
        ln1r = log2(sum1) * LN2 + (r - (sum1 - np.float32(1.0))) * inverse  # exact where 1 + r rounds, too
        # Entropy = ln(1 + r) + sum over k != argmax of p_k (m1 - z_k)/T: no term is negative, nothing cancels.
        spread = (a * others - sums[1, i] * inverse_T) * LN2
        entropy = ln1r + g * spread * inverse
        # Where r is small, H = g (others + spread), of which only the logarithm is sure to be representable.
        small = r < SMALL
        part, log2_rest = others + spread if small else entropy, -a if small else np.float32(0.0)
        ranks[MSP, i] = log2(others) - a - log2_others
        ranks[ENTROPY, i] = entropy_rank(entropy, log_classes, part, log2_rest)
        ranks[ENERGY, i] = offset(-(top[i] + T * (ln1r - log_classes)), LOGIT_OFFSET)
    if distance.shape[0] > classes:
        for i in range(top.size):
            r = (sums[0, i] - np.float32(1.0)) * exp2(-gap[i] * inverse_T)
            ranks[VOID, i] = distance[classes, i] * inverse_T - log2(np.float32(1.0) + r) + log2_classes


@kernel
def scratch(planes: int, rows: int, width: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return room for a band of pixels: planes by row, distances, maxima, gaps, sums and ranks."""
    n = rows * width
    z, distance = np.empty((planes, rows, width), np.float32), np.empty((planes, n), np.float32)
    top, gap, sums = np.empty(n, np.float32), np.empty(n, np.float32), np.empty((2, n), np.float32)
    return z, distance, top, gap, sums, np.empty((ROWS, n), np.float32)


@kernel
def count_pixels(
    logits: Array,
    channels: Array,
    classes: int,
    temperatures: Array,
    axes: tuple[Axis, Axis],
    labels: Array,
    slots: Array,
    layouts: Array,
    counts: Counts,
    thresholds: Array,
    above: Array,
) -> int:
    """Count the scores of one image at every temperature; return the number of logits that are not finite.

    Parameters
    ----------
    logits : (C, h, w), float32 or patterns of float16, see `arithmetic.widen`
    channels : int64 (P,), which of them: the in-distribution classes, then perhaps void
    classes : number of in-distribution classes
    temperatures : float32 (t,)
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    slots : int64 (ROWS, t), where each score is counted; -1 where nobody asked. MAXLOGIT uses the first column
    layouts : int32 (ROWS, 5), `Bins.layout` of each row
    counts : of (pairs, 2 * bins + 1), added to
    thresholds : float32 (pairs, m), ranks
    above : int64 (pairs, m, 2), added to
    """
    rows, columns = axes
    height, width = labels.shape
    step, damaged, filled = min(height, max(1, BAND // width)), 0, 0
    held, stretched = np.full(2, -1), np.empty((2, channels.size, width), np.float32)
    z, distance, top, gap, sums, ranks = scratch(channels.size, step, width)
    waiting = np.empty((slots.size, BANDS, step * width), np.uint32)
    for start in range(0, height, step):
        stop = min(start + step, height)
        if stop - start < step:  # the last band; parts of arrays would not be contiguous
            add_waiting(waiting, filled, slots.reshape(-1), counts)
            z, distance, top, gap, sums, ranks = scratch(channels.size, stop - start, width)
            waiting, filled = np.empty((slots.size, 1, top.size), np.uint32), 0
        band = labels[start:stop].reshape(-1)
        sample_band(logits, channels, start, stop, rows, columns, held, stretched, z)
        damaged += prepare(z.reshape(channels.size, top.size), classes, distance, top, gap)
        rank_maxlogit(top, ranks)
        for t in range(temperatures.size):
            temper(distance, top, gap, classes, temperatures[t], sums, ranks)
            for row in range(ROWS):
                slot = slots[row, t]
                if slot >= 0:
                    place(ranks[row], band, layouts[row], waiting[row * temperatures.size + t, filled])
                    count_above(ranks[row], band, thresholds[slot], above[slot])
        filled += 1
        if filled == waiting.shape[1]:
            add_waiting(waiting, filled, slots.reshape(-1), counts)
            filled = 0
    add_waiting(waiting, filled, slots.reshape(-1), counts)
    return damaged


@kernel
def rank_pixels(
    logits: Array, channels: Array, classes: int, T: np.float32, axes: tuple[Axis, Axis], ranks: Array
) -> int:
    """Write the ranks of one image at one temperature; return the number of logits that are not finite.

    Parameters
    ----------
    logits, channels, classes, axes : as for `count_pixels`
    T : temperature
    ranks : float32 (ROWS, H, W), written; the void row only where there is a void channel
    """
    rows, columns = axes
    height, width = ranks.shape[1:]
    held, stretched = np.full(2, -1), np.empty((2, channels.size, width), np.float32)
    z, distance, top, gap, sums, _ = scratch(channels.size, 1, width)
    damaged = 0
    for y in range(height):
        sample_band(logits, channels, y, y + 1, rows, columns, held, stretched, z)
        damaged += prepare(z.reshape(channels.size, width), classes, distance, top, gap)
        rank_maxlogit(top, ranks[:, y])
        temper(distance, top, gap, classes, T, sums, ranks[:, y])
    return damaged
