"""Exact figures from sorted scores of bins whose inner order matters, and the counts of all other bins.

What a first pass has left open is the order of pixels within bins. Here the scores of such bins are collected, sorted
(elsewhere), and walked through from the highest to the lowest; ties count as ties.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting import ANOMALY, IGNORED
from logitpipe.stages.score.kernels.figures import chord, precision


class Walked(NamedTuple):
    """State and results of a walk down the scores; all fields are arrays, because kernels write to them.

    Parameters
    ----------
    passed : int64 (2,), normal and anomalous pixels so far: FP and TP
    before : int64 (2,), both at the last point with no more than the wanted TP
    reached : int64 (2,), both at the first point with the wanted TP; TP is -1 before that
    sums : float64 (2,), the sum of the precisions of all positives; the pairs of a positive and a negative in order
    best : float64 (4,), the best F1 and the rank of its threshold, the best mean IoU and the rank of its threshold
    """

    passed: Array
    before: Array
    reached: Array
    sums: Array
    best: Array


def start() -> Walked:
    """Return a walk that has not begun."""
    whole, real = (lambda *values: np.array(values, np.int64)), (lambda n: np.zeros(n))
    return Walked(whole(0, 0), whole(0, 0), whole(0, -1), real(2), real(4))


@entry
def collect(
    scores: Array, labels: Array, layout: Array, first: int, wanted: Array, positives: Array, negatives: Array
) -> tuple[int, int]:
    """Collect the scores that lie in wanted bins, and return how many of each class there are.

    Parameters
    ----------
    scores : float32 (n,), as they were counted in bins
    labels : uint8 (n,), NORMAL, ANOMALY or IGNORED
    layout : `Bins.layout`
    first : the bin that `wanted` begins with
    wanted : bool (bins,)
    positives, negatives : float32 (n,), written
    """
    drop, low, below, above = layout[0] & np.int32(31), layout[1], layout[3], layout[4]
    patterns = scores.view(np.int32)
    P, N = 0, 0
    for i in range(labels.size):
        if labels[i] == IGNORED:
            continue
        # The arithmetic of `counting.place`: if the two differed by one bin, scores would be missed.
        pattern = patterns[i]
        sign = pattern >> np.int32(31)
        magnitude = max(((pattern & np.int32(0x7FFFFFFF)) >> drop) - low, 0)
        found = min(max((magnitude ^ sign) - sign, -below), above) + below - first
        if 0 <= found < wanted.size and wanted[found]:
            if labels[i] == ANOMALY:
                positives[P] = scores[i]
                P += 1
            else:
                negatives[N] = scores[i]
                N += 1
    return P, N


@entry
def walk_down(
    bins: tuple[Array, Array, Array, Array],
    positives: Array,
    negatives: Array,
    totals: tuple[int, int],
    needed: float,
    trapezoid: bool,
    walked: Walked,
) -> None:
    """Go on down the bins of a curve, through the single scores of those that were collected.

    Parameters
    ----------
    bins : of each bin, by falling score, its anomalous and its normal pixels, int64 (n,), its least score, float32
        (n,), and whether its scores were collected, bool (n,); of the others at most one class has a pixel, and at
        most one pixel is anomalous
    positives, negatives : float32, the collected scores of either class, by rising score
    totals : all anomalous and all normal pixels
    needed : the TP at which the FPR is wanted
    trapezoid : as for `figures.precision_sums`
    walked : gone on with
    """
    p_bins, n_bins, lows, collected = bins
    P, N = totals
    FP, TP = walked.passed[0], walked.passed[1]
    precisions, ordered = walked.sums[0], walked.sums[1]
    # Scores lie by rising score, so the walk takes them from the end.
    i, j = positives.size, negatives.size
    for bin_ in range(p_bins.size):
        left_p, left_n = p_bins[bin_], n_bins[bin_]
        while left_p + left_n > 0:
            p, n, score = left_p, left_n, lows[bin_]
            if collected[bin_]:  # one score, and all that tie with it
                high_p = positives[i - 1] if left_p > 0 else np.float32(-np.inf)
                high_n = negatives[j - 1] if left_n > 0 else np.float32(-np.inf)
                score, p, n = max(high_p, high_n), 0, 0
                while left_p - p > 0 and positives[i - 1] == score:
                    i, p = i - 1, p + 1
                while left_n - n > 0 and negatives[j - 1] == score:
                    j, n = j - 1, n + 1
                if p + n == 0:  # only NaN equals nothing: the caller finds that pixels are missing
                    return
            left_p, left_n = left_p - p, left_n - n
            ordered += float(n) * (TP + 0.5 * p)
            if p > 0 and trapezoid:
                precisions += chord(TP, FP, p, n, precision(TP, FP))
            elif p > 0:
                precisions += p * precision(TP + p, FP + n)
            FP, TP = FP + n, TP + p
            # Not only the first such point: between two points one interpolates from the last of equal TP.
            if needed >= TP:
                walked.before[0], walked.before[1] = FP, TP
            if p > 0:
                f1 = 2 * TP / (P + TP + FP)
                if f1 > walked.best[0]:
                    walked.best[0], walked.best[1] = f1, score
                iou = (TP / (P + FP) + (N - FP) / (N + P - TP)) / 2
                if iou > walked.best[2]:
                    walked.best[2], walked.best[3] = iou, score
                if needed <= TP and walked.reached[1] < 0:
                    walked.reached[0], walked.reached[1] = FP, TP
    walked.passed[0], walked.passed[1] = FP, TP
    walked.sums[0], walked.sums[1] = precisions, ordered
