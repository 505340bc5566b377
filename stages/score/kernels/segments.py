"""Scores of a mask network that are averaged within the segments of its queries."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import exp2, log2
from logitpipe.stages.score.kernels.compiled import Array, entry, kernel
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, offset

PIECE = 1024
"""Pixels that the inner loops run over."""
ONE, HALF = np.float32(1.0), np.float32(0.5)


@entry
def half_of_segments(ranks: Array, segments: Array, count: int, log2_others: np.float32) -> Array:
    """Return half of each pixel's score and half of the mean score of its segment, as ranks: float32 (n,).

    Parameters
    ----------
    ranks : float32 (n,), of scores p: log2 of p / (1 - p) over that of K equal classes (`scales.PROBABILITY_LEFT`)
    segments : int16 (n,), from 0 to `count` - 1
    log2_others : log2 (K - 1)

    Returns
    -------
    ranks : log2 of the odds, away from zero (`scales.EVEN_PROBABILITY`)
    """
    scores = np.empty_like(ranks)
    _share(ranks, log2_others, scores)
    total, pixels = np.zeros(count), np.zeros(count)
    name, start, part = segments[0], 0, 0.0
    for i in range(ranks.size):
        # Neighbours mostly are of one segment: its sum is kept at hand until another one begins.
        if segments[i] != name:
            total[name] += part
            pixels[name] += i - start
            name, start, part = segments[i], i, 0.0
        part += scores[i]
    total[name] += part
    pixels[name] += ranks.size - start
    means = np.empty(count, np.float32)
    for segment in range(count):
        means[segment] = total[segment] / max(pixels[segment], 1.0)
    of_pixel = np.empty(PIECE, np.float32)
    for start in range(0, ranks.size, PIECE):
        stop = min(start + PIECE, ranks.size)
        for i in range(start, stop):
            of_pixel[np.uint64(i - start)] = means[np.uint64(segments[i])]
        _take_half(scores[start:stop], of_pixel)
    return scores


@kernel
def _share(ranks: Array, log2_others: np.float32, scores: Array) -> None:
    for i in range(ranks.size):
        odds = exp2(ranks[i] + log2_others)
        scores[i] = odds / (ONE + odds)


@kernel
def _take_half(scores: Array, means: Array) -> None:
    """Replace scores by the ranks of their halves and those of means: float32 (n,) and at least n."""
    for i in range(scores.size):
        # Neither is above 1 - 1/K, so that 1 - half does not cancel.
        half = HALF * (scores[i] + means[i])
        scores[i] = offset(log2(half / (ONE - half)), ENTROPY_OFFSET)
