"""What a figure draws of a histogram: points on its curves, and how the scores of each class are spread."""

from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.plan import Pair, Plan

STEPS = 128
"""Marks along a curve, see `operating_points`: neighbours are 1/64 apart in TPR + FPR."""

POINTS = 2 * (STEPS + 1)
BINS = 64
TAIL = 0.001
"""The share of each class that the outermost bins take in from beyond them, on either side at most."""


@dataclass(frozen=True)
class Sketch:
    """The curves and the distributions of one pair, thinned for drawing.

    Parameters
    ----------
    recall, precision, fpr : float32 (POINTS,), of `operating_points`
    normal, anomaly : float32 (BINS,), the share of each class by rising score; NaN where there is no such pixel
    edges : float64 (BINS + 1,), the scores between which they lie, in the unit that the pair is pooled in
    """

    recall: np.ndarray
    precision: np.ndarray
    fpr: np.ndarray
    normal: np.ndarray
    anomaly: np.ndarray
    edges: np.ndarray


def operating_points(curve: Curve) -> np.ndarray:
    """Return points of the precision-recall and the ROC curve, both ends included, by falling threshold.

    Every point is a point of the true curves of the binned scores. Along s = TPR + FPR, which runs from 0 to 2, they
    are the last before and the first behind each of STEPS + 1 even marks. So two neighbours are at most a step apart,
    or no point lies between them. Where they are a step apart, the true ROC curve and the chord differ by no more
    than half the rectangle between them, step**2 / 8, and by step / 4 = 1/256 in all. Precision lies between
    TP / (TP + FP') and TP' / (TP' + FP) there, of a point (TP, FP) and the next (TP', FP').

    Returns
    -------
    float32 (3, POINTS) : recall (which is TPR), precision and FPR; where nothing is called anomalous precision is 1,
        as scikit-learn has it. NaN without anomalous or normal pixels.
    """
    P, N = curve.positives, curve.negatives
    if not P or not N:
        return np.full((3, POINTS), np.nan, np.float32)
    TP, FP = (np.concatenate([[0], np.cumsum(counts)]) for counts in (curve.p, curve.n))
    s, marks = TP / P + FP / N, np.linspace(0, 2, STEPS + 1)
    # The first search finds the first point not before a mark, the second one the last point not behind it.
    kept = np.sort(np.concatenate([np.searchsorted(s, marks), np.searchsorted(s, marks, side="right") - 1]))
    TP, FP = TP[kept], FP[kept]
    precision = np.divide(TP, TP + FP, out=np.ones(POINTS), where=TP + FP > 0)
    return np.stack([TP / P, precision, FP / N]).astype(np.float32)


def distributions(plan: Plan, pair: Pair, curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how normal and anomalous pixels are spread over BINS even bins, and the edges of these.

    The bins are even in the score, or in the logarithm of its odds where probabilities gather at their limits. They
    reach from the lowest to the highest score of either class, but for a TAIL.

    Returns
    -------
    normal, anomaly : float32 (BINS,), shares that sum to 1
    edges : float64 (BINS + 1,)
    """
    scale, K, unit = plan.scale(pair), plan.classes(pair.method), plan.pools_scores(pair.method)
    # The outermost bin has no lower edge; its upper one stands in.
    least = plan.bins(pair).lower_edges(np.array([1]))
    ranks = np.maximum(curve.lows[::-1], least).astype(np.float64)
    positions = ranks if unit else scale.on_axis(plan.formula(pair, ranks), K)
    counts = (curve.n[::-1], curve.p[::-1])
    edges = _even_edges(positions, counts)
    bins = np.clip(np.searchsorted(edges, positions, side="right") - 1, 0, BINS - 1)
    normal, anomaly = (_shares(np.bincount(bins, weights=n, minlength=BINS)) for n in counts)
    return normal, anomaly, edges if unit else scale.from_axis(edges, K)


def sketch(plan: Plan, pair: Pair, curve: Curve) -> Sketch:
    """Return what is drawn of a pair."""
    recall, precision, fpr = operating_points(curve)
    return Sketch(recall, precision, fpr, *distributions(plan, pair, curve))


def _even_edges(positions: np.ndarray, counts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return BINS + 1 even edges around all positions but the tails of each class."""
    if not positions.size:
        return np.linspace(0, 1, BINS + 1)
    sums = [np.cumsum(n) for n in counts if n.any()]
    # Over both classes, so that a rare one is not cut off as a tail of the other.
    low = min(positions[np.searchsorted(total, TAIL * total[-1])] for total in sums)
    high = max(positions[np.searchsorted(total, (1 - TAIL) * total[-1])] for total in sums)
    return np.linspace(low, high, BINS + 1) if low < high else np.linspace(low - 0.5, low + 0.5, BINS + 1)


def _shares(counts: np.ndarray) -> np.ndarray:
    total = counts.sum()
    return (counts / total if total else np.full(BINS, np.nan)).astype(np.float32)
