"""Sums of precisions over filled bins, the one part of the figures that costs more than a pass over an array."""

import numpy as np

from stages.score.kernels.compiled import Array, kernel

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
    ratio = B / D
    return (p + (A - ratio) * harmonic_sum(ratio, p)) / D


@kernel
def precision_sums(p: Array, n: Array) -> tuple[float, float, float]:
    """Return the sum of the precisions of all positives: expected, least and greatest (see `metrics.auprc`).

    Parameters
    ----------
    p, n : int64 (bins,), positives and negatives by falling score
    """
    expected, least, greatest, TP, FP = 0.0, 0.0, 0.0, 0, 0
    for i in range(p.size):
        if p[i] > 0:
            mean = precision_sum(TP, TP + FP, 1.0 + n[i] / (p[i] + 1.0), p[i])
            expected += mean
            least += mean if n[i] == 0 else precision_sum(TP, TP + FP + n[i], 1.0, p[i])
            greatest += p[i] * (float(TP + p[i]) / float(TP + p[i] + FP))
        TP += p[i]
        FP += n[i]
    return expected, least, greatest
