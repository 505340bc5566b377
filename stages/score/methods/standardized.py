"""Methods of pixel networks that compare scores with what they are where nothing is anomalous (`pipe fit`)."""

from typing import TYPE_CHECKING

import numpy as np

from logitpipe.stages.score.kernels.fused.pixel_ranks import LOGIT_OFFSET
from logitpipe.stages.score.methods.accumulators import ClassSums
from logitpipe.stages.score.methods.method import InDistribution
from logitpipe.stages.score.methods.plain import softmax
from logitpipe.stages.score.methods.smoothing import smoothed, suppressed

if TYPE_CHECKING:
    from logitpipe.stages.score.kinds.whole import WholeImage

LEAST = float(np.finfo(np.float64).tiny)
"""What the logarithm is taken of where a class never has any share."""


def finish_sml(c: ClassSums, statistics: InDistribution) -> np.ndarray:
    """Return the rank of (mean_c - max z) / deviation_c of the predicted class c."""
    mean, deviation = (each.astype(np.float32) for each in statistics.largest)
    scores = (mean[c.pixels.winner] - c.top) / deviation[c.pixels.winner]
    return scores + np.where(scores >= 0, LOGIT_OFFSET, -LOGIT_OFFSET)


def finish_kl(c: ClassSums, statistics: InDistribution) -> np.ndarray:
    """Return min over the classes k that occur of KL(p || d_k) = sum p log p - sum p log d_k."""
    # Of all classes at once: the second sum is one product with the matrix of these logarithms.
    p, logs = c.posteriors, np.log(np.maximum(statistics.posteriors(float(c.T)), LEAST)).astype(np.float32)
    log_p = (c.pixels.z - c.top) / c.T - c.log1p_rest
    # One of the terms is the negative entropy, whatever the class: it is taken out of the minimum.
    return np.maximum((p * log_p).sum(axis=0) - (logs @ p).max(axis=0), 0)


def sml_plus(image: "WholeImage", statistics: InDistribution) -> np.ndarray:  # noqa: ARG001 - `sml` has them
    """Return the ranks of sml with the boundaries of classes suppressed, under a wide Gaussian: float32 (H, W)."""
    return image.plan.rank(image.pair, smoothed(suppressed(image.scores("sml"), image.largest())))


def sml(z: np.ndarray, statistics: InDistribution) -> np.ndarray:
    """Return (mean_c - max z) / deviation_c of the predicted class c."""
    mean, deviation = statistics.largest
    winner = z.argmax(axis=0)
    return (mean[winner] - z.max(axis=0)) / deviation[winner]


def kl(z: np.ndarray, T: float, statistics: InDistribution) -> np.ndarray:
    """Return min over the classes k that occur of the sum over j of p_j log(p_j / d_kj)."""
    p = softmax(z / T)
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    means = np.maximum(statistics.posteriors(T), LEAST)
    return np.min([(p * (log_p - np.log(d).reshape(-1, *[1] * (p.ndim - 1)))).sum(axis=0) for d in means], axis=0)
