"""Scores of mask networks at one temperature, from planes at the store's mask resolution.

S_k = sum_q P_qk M_q. The K planes S are resampled to the evaluation size row by row and the last step of every
formula is taken on the row, so that no map of K classes ever exists at that size. With r = sum over k != argmax of
S_k / max S, `msp` and `entropy` are functions of r and of the ratios alone; nothing cancels.

Scores leave here as ranks, see `scales.py`.
"""

import numpy as np

from stages.score.kernels.arithmetic import LN2, LOG2E, exp2, log1p, log2
from stages.score.kernels.compiled import Array, kernel
from stages.score.kernels.counting import count, count_above
from stages.score.kernels.pixel import SMALLEST, entropy_rank, offset
from stages.score.kernels.resampling import Axis, sample_band

MSP, ENTROPY, RBA, MASK2ANOMALY, NEG_SUM, MASK_ENERGY, EAM, VOID, RBA_NORMALIZED, MAXLOGIT = range(10)
"""Rows of the ranks."""
ROWS = 10
SINGLE_MAPS = 3
"""Planes after the K classes whose score is a single map already: eam, void, rba-normalized."""
BAND = 4096
"""Pixels that are finished together; their planes fit into the second-level cache."""


@kernel
def finish_classes(S: Array, work: Array, ranks: Array) -> None:
    """Write the ranks that are functions of the K class planes.

    Parameters
    ----------
    S : float32 (K, n), not negative
    work : float32 (5, n), written over
    ranks : float32 (ROWS, n), rows MSP to MASK_ENERGY written
    """
    K, n = S.shape
    top, ties, rest, mixed, exponentials = work[0], work[1], work[2], work[3], work[4]
    total, saturated = ranks[NEG_SUM], ranks[RBA]
    top[:] = S[0]
    for k in range(1, K):
        for i in range(n):
            top[i] = max(top[i], S[k, i])
    for i in range(n):
        ties[i], rest[i], mixed[i], exponentials[i] = -1.0, 0.0, 0.0, 0.0
        total[i], saturated[i] = 0.0, 0.0
    for k in range(K):
        for i in range(n):
            s = S[k, i]
            first = s == top[i]
            x = s / max(top[i], SMALLEST)
            ties[i] += np.float32(1.0) if first else np.float32(0.0)
            rest[i] += np.float32(0.0) if first else x
            mixed[i] -= np.float32(0.0) if first else x * log2(max(x, SMALLEST))
            exponentials[i] += exp2((s - top[i]) * LOG2E)
            e = exp2(s * (np.float32(-2.0) * LOG2E))
            saturated[i] += (np.float32(1.0) - e) / (np.float32(1.0) + e)
            total[i] += s
    tanh1 = np.float32(np.tanh(1.0))
    sharp = np.float32(np.log(np.exp(1.0) + K - 1.0))  # logsumexp of a perfectly confident pixel
    log_classes, log2_others = log2(np.float32(K)) * LN2, log2(np.float32(K - 1))
    for i in range(n):
        r = rest[i] + ties[i]
        entropy = log1p(r) + mixed[i] * LN2 / (np.float32(1.0) + r)
        ranks[MSP, i] = log2(max(r, SMALLEST)) - log2_others
        ranks[ENTROPY, i] = entropy_rank(entropy, log2(max(entropy, SMALLEST)), log_classes)
        ranks[RBA, i] = tanh1 - saturated[i]
        ranks[MASK2ANOMALY, i] = np.float32(1.0) - top[i]
        ranks[NEG_SUM, i] = np.float32(1.0) - total[i]
        ranks[MASK_ENERGY, i] = sharp - top[i] - log2(exponentials[i]) * LN2


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
        top[:] = z[0]
        for k in range(1, classes):
            for i in range(z.shape[1]):
                top[i] = max(top[i], z[k, i])
        for i in range(z.shape[1]):
            ranks[MAXLOGIT, i] = offset(-top[i])


@kernel
def count_masks(
    planes: Array,
    classes: int,
    axes: tuple[Axis, Axis],
    labels: Array,
    slots: Array,
    layouts: Array,
    counts: Array,
    thresholds: Array,
    above: Array,
) -> None:
    """Count the scores of one image at one temperature.

    Parameters
    ----------
    planes : float32 (P, h, w), as for `finish`
    classes : K
    axes : `axis_weights` of rows and columns, from the store's size to that of evaluation
    labels : uint8 (H, W)
    slots : int64 (ROWS,), where each score is counted; -1 where it is not
    layouts, counts, thresholds, above : as for `kernels.pixel.count_pixels`
    """
    rows, columns = axes
    height, width = labels.shape
    every = np.arange(planes.shape[0])
    step = max(1, BAND // width)
    held, stretched = np.full(2, -1), np.empty((2, planes.shape[0], width), np.float32)
    z, places = np.empty((planes.shape[0], step * width), np.float32), np.empty(step * width, np.uint32)
    work, ranks = np.empty((5, step * width), np.float32), np.empty((ROWS, step * width), np.float32)
    for start in range(0, height, step):
        stop = min(start + step, height)
        n = (stop - start) * width
        band = labels[start:stop].reshape(-1)
        sample_band(planes, every, start, stop, rows, columns, held, stretched, z[:, :n])
        finish(z[:, :n], classes, work[:, :n], ranks[:, :n])
        for row in range(ROWS):
            slot = slots[row]
            if slot >= 0:
                count(ranks[row, :n], band, layouts[row], places[:n], counts[slot])
                count_above(ranks[row, :n], band, thresholds[slot], above[slot])


@kernel
def rank_masks(planes: Array, classes: int, axes: tuple[Axis, Axis], ranks: Array) -> None:
    """Write the ranks of one image at one temperature, the rows that `planes` hold: float32 (ROWS, H, W)."""
    rows, columns = axes
    height, width = ranks.shape[1:]
    every = np.arange(planes.shape[0])
    held, stretched = np.full(2, -1), np.empty((2, planes.shape[0], width), np.float32)
    z, work = np.empty((planes.shape[0], width), np.float32), np.empty((5, width), np.float32)
    for y in range(height):
        sample_band(planes, every, y, y + 1, rows, columns, held, stretched, z)
        finish(z, classes, work, ranks[:, y])
