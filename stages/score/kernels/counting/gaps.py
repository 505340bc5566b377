"""Normal pixels counted between the scores of anomalous ones: all that figures need of an order.

Anomalous pixels are few. Their distinct scores, in order, divide all scores into what equals one of them and the gaps
between; how normal pixels are spread over a gap changes no figure.
"""

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry
from logitpipe.stages.score.kernels.counting.bins import NORMAL


@entry
def first_edges(edges: Array, layout: Array) -> Array:
    """Return how many edges lie in lower bins than each: int32 (bins + 1,).

    Parameters
    ----------
    edges : float32 (m,), distinct, rising
    layout : `Bins.layout`
    """
    drop, low, below, above = layout[0] & np.int32(31), layout[1], layout[3], layout[4]
    first = np.zeros(below + above + 2, np.int32)
    for pattern in edges.view(np.int32):
        # The arithmetic of `counting.place`, here and below.
        sign = pattern >> np.int32(31)
        magnitude = max(((pattern & np.int32(0x7FFFFFFF)) >> drop) - low, 0)
        first[min(max((magnitude ^ sign) - sign, -below), above) + below + 1] += np.int32(1)
    for bin_ in range(1, first.size):
        first[bin_] += first[bin_ - 1]
    return first


@entry
def count_gaps(scores: Array, labels: Array, layout: Array, first: Array, edges: Array, gaps: Array) -> None:
    """Count normal pixels between and at edges.

    Parameters
    ----------
    scores : float32 (n,) or longer, as they were counted in bins
    labels : uint8 (n,)
    layout : `Bins.layout`
    first, edges : of `first_edges`
    gaps : uint32 (2 m + 1,), added to: below edge 0, at edge 0, above it and below edge 1, ...
    """
    drop, low, below, above = layout[0] & np.int32(31), layout[1], layout[3], layout[4]
    patterns = scores.view(np.int32)
    for i in range(labels.size):
        if labels[i] != NORMAL:
            continue
        pattern, score = patterns[i], scores[i]
        sign = pattern >> np.int32(31)
        magnitude = max(((pattern & np.int32(0x7FFFFFFF)) >> drop) - low, 0)
        bin_ = min(max((magnitude ^ sign) - sign, -below), above) + below
        at, stop = first[bin_], first[bin_ + 1]
        while stop - at > 8:  # the outermost bins and those of ties can hold many edges
            middle = (at + stop) >> 1
            if edges[middle] < score:
                at = middle + 1
            else:
                stop = middle
        while at < stop and edges[at] < score:
            at += 1
        # Edges of higher bins are larger: only one of this very bin can be equal.
        equal = at < first[bin_ + 1] and edges[at] == score
        gaps[2 * at + np.int64(equal)] += np.uint32(1)
