"""The figures of many histograms over the same bins at once: of resamples of images, or of single images."""

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.curves.figures import precision_sum, sum_before

FIRST, LINEAR, ABOVE = range(3)
"""Where the FPR at 95 % TPR is read off, as `protocols.Protocol.fpr` names it."""


@entry
def figures_of(counts: Array, rule: int, trapezoid: bool) -> Array:
    """Return AuPRC, FPR95 and AUROC of each histogram: float64 (n, 3), NaN where a class has no pixel.

    Parameters
    ----------
    counts : float32 or int32 (n, 2, bins), normal and anomalous pixels of each bin by falling score
    rule : FIRST, LINEAR or ABOVE
    trapezoid : as for `figures.precision_sums`

    The order within a bin is taken as random, as `metrics.auprc` has it, and its pixels as evenly mixed.
    """
    found = np.empty((counts.shape[0], 3))
    for i in range(counts.shape[0]):
        N, P = 0, 0
        for b in range(counts.shape[2]):
            N += int(counts[i, 0, b])
            P += int(counts[i, 1, b])
        if N == 0 or P == 0:
            found[i] = np.nan
            continue
        # As `metrics.needed_positives`, in integers where a whole number is asked for: 0.95 P may round wrongly.
        needed = 19.0 * P / 20.0
        if rule == FIRST:
            needed = float(-(-19 * P // 20))
        elif rule == ABOVE:
            needed = float(19 * P // 20 + 1)
        precisions, area, fpr, TP, FP = 0.0, 0.0, 1.0, 0, 0
        for b in range(counts.shape[2]):
            n, p = int(counts[i, 0, b]), int(counts[i, 1, b])
            if p > 0:
                mean = precision_sum(TP, TP + FP, 1.0 + n / (p + 1.0), p)
                precisions += 0.5 * (mean + sum_before(TP, FP, p, n)) if trapezoid else mean
                if TP < needed <= TP + p:
                    fpr = (FP + n * (needed - TP) / p) / N
            area += float(n) * (TP + 0.5 * p)
            TP += p
            FP += n
        found[i, 0], found[i, 1], found[i, 2] = precisions / P, fpr, area / N / P
    return found
