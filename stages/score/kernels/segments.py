"""Scores of a mask network that are averaged within the segments of its queries."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import exp2, log2
from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, offset

ONE, HALF = np.float32(1.0), np.float32(0.5)


@entry
def half_of_segments(ranks: Array, segments: Array, count: int, log2_others: np.float32) -> Array:
    """Return half of each pixel's score and half of the mean score of its segment, as ranks: float32 (n,).

    Parameters
    ----------
    ranks : float32 (n,), of scores p: log2 of p / (1 - p) over that of K equal classes (`scales.PROBABILITY_LEFT`)
    segments : int32 (n,), from 0 to `count` - 1
    log2_others : log2 (K - 1)

    Returns
    -------
    ranks : log2 of the odds, away from zero (`scales.EVEN_PROBABILITY`)
    """
    scores = np.empty_like(ranks)
    for i in range(ranks.size):
        odds = exp2(ranks[i] + log2_others)
        scores[i] = odds / (ONE + odds)
    total, pixels = np.zeros(count), np.zeros(count)
    for i in range(ranks.size):
        total[segments[i]] += np.float64(scores[i])
        pixels[segments[i]] += 1.0
    means = np.empty(count, np.float32)
    for segment in range(count):
        means[segment] = total[segment] / max(pixels[segment], 1.0)
    for i in range(ranks.size):
        # Neither is above 1 - 1/K, so that 1 - half does not cancel.
        half = HALF * (scores[i] + means[segments[i]])
        scores[i] = offset(log2(half / (ONE - half)), ENTROPY_OFFSET)
    return scores
