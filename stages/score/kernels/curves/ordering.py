"""Exact figures from a curve whose points are all known: a walk down the scores, ties as ties."""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.curves.figures import chord, precision


class Walked(NamedTuple):
    """Results of a walk down the scores; all fields are arrays, because kernels write to them.

    Parameters
    ----------
    before : int64 (2,), FP and TP at the last point with no more than the wanted TP
    reached : int64 (2,), both at the first point with the wanted TP; TP is -1 before that
    sums : float64 (2,), the sum of the precisions of all positives; the pairs of a positive and a negative in order
    best : float64 (4,), the best F1 and the rank of its threshold, the best mean IoU and the rank of its threshold
    """

    before: Array
    reached: Array
    sums: Array
    best: Array


def start() -> Walked:
    """Return a walk that has not begun."""
    whole, real = (lambda *values: np.array(values, np.int64)), (lambda n: np.zeros(n))
    return Walked(whole(0, 0), whole(0, -1), real(2), real(4))


@entry
def walk_down(p: Array, n: Array, scores: Array, needed: float, trapezoid: bool, walked: Walked) -> None:
    """Go down the points of a curve.

    Parameters
    ----------
    p, n : int64 (m,), anomalous and normal pixels of each score, by falling score
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
                walked.reached[0], walked.reached[1] = FP, TP
    walked.sums[0], walked.sums[1] = precisions, ordered
