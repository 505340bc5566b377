"""Sums over the filled bins of a histogram, from which figures follow: one pass each, no temporary arrays.

In what follows p and n, int64 (bins,), are the positives and the negatives of each bin, by falling score.
"""

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, kernel

FAR = 1000
"""From here on the asymptotic series of the digamma function is exact to float64."""
NEAR_ZERO = 1e-3
"""Up to here five terms of ln(1 + x) are exact to 2e-16 of it."""


@kernel
def log1p(x: float) -> float:
    """Return ln(1 + x) for x >= 0; near 0, where most are, from the first terms of its series, far cheaper."""
    if x > NEAR_ZERO:
        return np.log1p(x)
    return x * (1.0 - x * (1.0 / 2.0 - x * (1.0 / 3.0 - x * (1.0 / 4.0 - x * (1.0 / 5.0)))))


@kernel
def harmonic_sum(x: float, p: int) -> float:
    """Return sum over j = 1..p of 1 / (x + j), to the last digits, for x >= 0.

    It is digamma(x + p + 1) - digamma(x + 1). The difference of the two series is taken term by term, so that
    nothing cancels; the first term left out is below 1e-14.
    """
    near, total = 0, 0.0
    while near < p and x + near < FAR:
        near += 1
        total += 1.0 / (x + near)
    low, high = x + near + 0.5, x + p + 0.5
    # 1 / high**2 - 1 / low**2 in one division; it is 0 where all terms are near.
    return total + log1p((p - near) / low) + (low - high) * (low + high) / (24.0 * (low * high) ** 2)


@kernel
def precision_sum(A: float, B: float, D: float, p: int) -> float:
    """Return sum over j = 1..p of (A + j) / (B + D j)."""
    # (A + j) / (B + D j) = (1 + (A - ratio) / (ratio + j)) / D, and the sum over 1 / (ratio + j) is known.
    ratio = B / D
    return (p + (A - ratio) * harmonic_sum(ratio, p)) / D


@kernel
def precision(TP: float, FP: float) -> float:
    """Return the precision of a point; 1 where nothing is called anomalous, where every curve begins."""
    return TP / (TP + FP) if TP + FP > 0 else 1.0


@kernel
def chord(TP: int, FP: int, p: int, n: int, start: float) -> float:
    """Return p times the mean precision between a start and the point behind p positives and n negatives more."""
    return 0.5 * p * (start + precision(TP + p, FP + n))


@kernel
def sum_before(TP: int, FP: int, p: int, n: int) -> float:
    """Return the sum of the precisions at the points just before each of p positives, n negatives mixed evenly in."""
    each = n / (p + 1.0)
    # With nothing before it the first pixel of the curve is one of the positives with this probability.
    first = precision(TP, FP + each) if TP + FP > 0 else p / float(p + n)
    return first + (precision_sum(TP, TP + FP + each, 1.0 + each, p - 1) if p > 1 else 0.0)


@entry
def precision_sums(p: Array, n: Array, tied: Array, trapezoid: bool) -> tuple[float, float, float]:
    """Return the sum of the precisions of all positives: expected, least and greatest (see `metrics.auprc`).

    Parameters
    ----------
    tied : bool (bins,), where a bin is known to hold a single score: nothing is open there
    trapezoid : whether a positive has the mean of the precisions at its point and at the one before
    """
    expected, least, greatest, TP, FP = 0.0, 0.0, 0.0, 0, 0
    for i in range(p.size):
        # A bin without positives adds no precision, but its negatives count for all bins after it.
        if p[i] == 1 and not trapezoid:
            # The sum of one term, as most are where bins are narrow.
            last = float(TP + 1) / float(TP + 1 + FP + n[i])
            expected += last if tied[i] else float(TP + 1) / (TP + 1 + FP + 0.5 * n[i])
            least += last
            greatest += last if tied[i] else float(TP + 1) / float(TP + 1 + FP)
        elif p[i] > 0:
            first = p[i] * (float(TP + p[i]) / float(TP + p[i] + FP))
            if tied[i] and trapezoid:
                line = chord(TP, FP, p[i], n[i], precision(TP, FP))
                expected, least, greatest = expected + line, least + line, greatest + line
            elif tied[i]:
                last = p[i] * (float(TP + p[i]) / float(TP + p[i] + FP + n[i]))
                expected, least, greatest = expected + last, least + last, greatest + last
            else:
                mean = precision_sum(TP, TP + FP, 1.0 + n[i] / (p[i] + 1.0), p[i])
                # The worst order: all negatives of the bin stand before its first positive. Precision grows ever
                # more slowly from there, so that the straight line to the end, of a tie, lies below all other ways.
                if trapezoid:
                    mean = 0.5 * (mean + sum_before(TP, FP, p[i], n[i]))
                    least += chord(TP, FP + n[i], p[i], 0, precision(TP, FP + n[i]))
                else:
                    least += mean if n[i] == 0 else precision_sum(TP, TP + FP + n[i], 1.0, p[i])
                expected += mean
                greatest += first
        TP += p[i]
        FP += n[i]
    return expected, least, greatest


@entry
def roc_area(p: Array, n: Array, tied: Array) -> tuple[float, float, float]:
    """Return how many pairs of a positive and a negative are in order, ties counted half: expected, least, greatest.

    Counts reach 10**10 and their products 10**20: float64 keeps ten digits of what int64 would overflow.
    """
    expected, opened, TP = 0.0, 0.0, 0
    for i in range(p.size):
        expected += float(n[i]) * (TP + 0.5 * p[i])
        opened += 0.0 if tied[i] else 0.5 * float(n[i]) * p[i]
        TP += p[i]
    return expected, expected - opened, expected + opened


@entry
def first_reaching(p: Array, n: Array, needed: float) -> tuple[int, int, int]:
    """Return the first bin at which TP reaches `needed`, and TP and FP before it.

    `needed` lies above 0 and is at most the number of all positives.
    """
    TP, FP, i = 0, 0, 0
    while TP + p[i] < needed:
        TP += p[i]
        FP += n[i]
        i += 1
    return i, TP, FP


@entry
def best_f1(p: Array, n: Array, tied: Array, P: int) -> tuple[float, int, float]:
    """Return the best F1 = 2 TP / (P + TP + FP).

    Returns
    -------
    the largest over the bins' lower edges, the first bin that has it, and the largest that any threshold within a
    bin could give
    """
    best, at, most, TP, FP = 0.0, 0, 0.0, 0, 0
    for i in range(p.size):
        if p[i] > 0:  # negatives alone make it no better
            if not tied[i]:
                # The best order: all positives of the bin stand before its first negative.
                most = max(most, 2 * (TP + p[i]) / (P + TP + p[i] + FP))
            f1 = 2 * (TP + p[i]) / (P + TP + p[i] + FP + n[i])
            if f1 > best:
                best, at = f1, i
        TP += p[i]
        FP += n[i]
    return best, at, max(best, most)


@entry
def best_mean_iou(p: Array, n: Array, P: int, N: int) -> tuple[float, int]:
    """Return the largest mean IoU of both classes over the bins' lower edges, and the first bin that has it."""
    best, at, TP, FP = 0.0, 0, 0, 0
    for i in range(p.size):
        TP += p[i]
        FP += n[i]
        # Only above all positives may negatives alone be the best: behind them they make it worse.
        if p[i] > 0 or TP == 0:
            mean = (TP / (P + FP) + (N - FP) / (N + P - TP)) / 2
            if mean > best:
                best, at = mean, i
    return best, at
