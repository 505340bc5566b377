"""Exact figures: a walk down the points of a curve, or down all scores in order, ties as ties."""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.kernels.curves.figures import chord, precision


class Walked(NamedTuple):
    """Results of a walk down the scores; all fields are arrays, because kernels write to them.

    Parameters
    ----------
    before : int64 (2,), FP and TP at the last point with no more than the wanted TP
    reached : int64 (2,), both at the first point with the wanted TP; TP is -1 before that
    sums : float64 (2,), the sum of the precisions of all positives; the pairs of a positive and a negative in order
    best : float64 (4,), the best F1 and the rank of its threshold, the best mean IoU and the rank of its threshold
    rank : float64 (1,), that of the first point with the wanted TP
    """

    before: Array
    reached: Array
    sums: Array
    best: Array
    rank: Array


def start() -> Walked:
    """Return a walk that has not begun."""
    whole, real = (lambda *values: np.array(values, np.int64)), (lambda n: np.zeros(n))
    return Walked(whole(0, 0), whole(0, -1), real(2), real(4), real(1))


@entry
def walk_down(p: Array, n: Array, scores: Array, needed: float, trapezoid: bool, walked: Walked) -> None:
    """Go down the points of a curve.

    Parameters
    ----------
    p, n : int32 or int64 (m,), anomalous and normal pixels of each score, by falling score
    scores : float32 (m,)
    needed : the TP at which the FPR is wanted
    trapezoid : as for `figures.precision_sums`
    walked : of `start`, written
    """
    P, N, FP, TP = p.sum(), n.sum(), 0, 0
    precisions, ordered, best = 0.0, 0.0, np.array([0.0, 1.0, 0.0, 1.0])
    for i in range(p.size):
        ordered += float(n[i]) * (TP + 0.5 * p[i])
        if p[i] > 0 and trapezoid:
            precisions += chord(TP, FP, p[i], n[i], precision(TP, FP))
        elif p[i] > 0:
            precisions += p[i] * precision(TP + p[i], FP + n[i])
        FP, TP = FP + n[i], TP + p[i]
        # Not only the first such point: between two points one interpolates from the last of equal TP.
        if needed >= TP:
            walked.before[0], walked.before[1] = FP, TP
        if p[i] > 0:
            # Fractions are compared without a division: most of the time of this loop would go into those.
            f1_top, f1_under = 2.0 * TP, float(P + TP + FP)
            if f1_top * best[1] > best[0] * f1_under:
                best[0], best[1] = f1_top, f1_under
                walked.best[0], walked.best[1] = f1_top / f1_under, scores[i]
            union, other = float(P + FP), float(N + P - TP)
            iou_top, iou_under = TP * other + (N - FP) * union, 2.0 * union * other
            if iou_top * best[3] > best[2] * iou_under:
                best[2], best[3] = iou_top, iou_under
                walked.best[2], walked.best[3] = (TP / union + (N - FP) / other) / 2, scores[i]
            if needed <= TP and walked.reached[1] < 0:
                walked.reached[0], walked.reached[1], walked.rank[0] = FP, TP, scores[i]
    walked.sums[0], walked.sums[1] = precisions, ordered


@entry
def merge_sorted(anomalous: Array, normal: Array, p: Array, n: Array, scores: Array) -> int:
    """Write the points of a curve, by falling score, and return how many there are.

    Parameters
    ----------
    anomalous, normal : float32 (P,) and (N,), scores of single pixels, both by rising score
    p, n, scores : int32, int32 and float32 (at least 2 P + 1,), written: pixels of each point and the least score
    """
    i, j, m = anomalous.size - 1, normal.size - 1, 0
    while i >= 0:
        score, start, first = anomalous[i], j, i
        while j >= 0 and normal[j] > score:
            j -= 1
        # How normal pixels are spread between two scores of anomalous ones changes no figure. The point is written in
        # any case, and kept where there are such pixels: a branch would be guessed wrongly half of the time.
        p[m], n[m], scores[m] = 0, start - j, score
        m += int(j < start)
        start = j
        while j >= 0 and normal[j] == score:
            j -= 1
        i -= 1
        while i >= 0 and anomalous[i] == score:
            i -= 1
        # -0 and 0 are one score.
        p[m], n[m], scores[m] = first - i, start - j, score + np.float32(0.0)
        m += 1
    p[m], n[m], scores[m] = 0, j + 1, -np.inf
    return m + int(j >= 0)


@entry
def divide(scores: Array, labels: Array, normal: Array, anomalous: Array) -> None:
    """Copy the scores of both classes to arrays of their own.

    Parameters
    ----------
    scores : float32 (n,) or longer
    labels : uint8 (n,)
    normal, anomalous : float32, written: longer by one than there are such pixels, as that place is written to by
        what belongs to the other
    """
    N, P = 0, 0
    for i in range(labels.size):
        normal[N], anomalous[P] = scores[i], scores[i]
        N += int(labels[i] == NORMAL)
        P += int(labels[i] == ANOMALY)
