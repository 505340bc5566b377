"""Ranks of methods that finish sums over classes, block by block, and of maps that are only resampled.

The core has kernels of its own, in which all steps of a row are fused. Here a block of rows is sampled to the
evaluation size, sums over its classes are computed as methods ask for them, and each method's finisher makes ranks of
them. A pixel's ranks are the same whichever other pairs and pixels are computed with it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import IGNORED, count, count_above
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kinds.bands import Band, sampled
from logitpipe.stages.score.methods.accumulators import ClassSums, Pixels
from logitpipe.stages.score.methods.method import OfClasses
from logitpipe.stages.score.plan import Plan

BLOCK = 1 << 13
"""Pixels of a block, about: its classes and sums fit the second cache of a core."""

OWN_ROWS = 64
"""Rows of an image that a method of one's own gets at once."""

Ranks = Iterator[tuple[int, slice, np.ndarray]]
"""Index of a pair, rows of the image, and float32 (rows, W) ranks of these."""


def row_blocks(band: Band, labels: np.ndarray | None) -> Iterator[slice]:
    """Yield the rows of a band, as many at a time as BLOCK has pixels for; with labels only where some count."""
    height = max(1, BLOCK // max(1, band.axes[1][0].size))
    for start in range(band.rows.start, band.rows.stop, height):
        rows = slice(start, min(start + height, band.rows.stop))
        if labels is None or (labels[rows] != IGNORED).any():
            yield rows


def own_rows(rows: slice) -> Iterator[slice]:
    """Divide rows of an image into parts, so that no function of one's own is given all of it at once."""
    ends = range(rows.start, rows.stop, OWN_ROWS)
    yield from (slice(start, min(start + OWN_ROWS, rows.stop)) for start in ends)


def class_ranks(
    plan: Plan,
    pairs: Sequence[int],
    band: Band,
    chosen: Sequence[int],
    labels: np.ndarray | None = None,
    void: int | None = None,
) -> Ranks:
    """Yield the ranks of pairs whose methods finish sums over classes.

    Parameters
    ----------
    pairs : indices into the plan's pairs
    band, chosen : planes, and which of them are the classes
    labels : uint8 (H, W); blocks in which no pixel counts are passed over
    void : the plane of the void channel, where a method asks for it
    """
    beside = [] if void is None else [void]
    # So that one set of sums serves all pairs of a temperature, and is then given up.
    by_temperature = sorted(pairs, key=lambda i: plan.pairs[i].temperature or 1.0)
    parameters = {i: plan.parameters(plan.pairs[i]) for i in pairs}
    for rows in row_blocks(band, labels):
        values = sampled(band, [*chosen, *beside], rows)
        planes = values.reshape(len(values), -1)
        pixels, sums = Pixels(planes[: len(chosen)], planes[-1] if beside else None), None
        for i in by_temperature:
            T, computed = plan.pairs[i].temperature or 1.0, plan.methods[plan.pairs[i].method].computed
            assert isinstance(computed, OfClasses)
            # As float32, in which sums have their temperature: 0.1 itself would equal none.
            if sums is None or np.float32(T) != sums.T:
                sums = ClassSums(pixels, T)
            yield i, rows, computed.ranks(sums, parameters[i]).reshape(values.shape[1:])


def count_ranks(plan: Plan, found: Ranks, labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
    """Count ranks as they come; the other parameters are those of `kinds.Logits.count`."""
    layouts: dict[int, np.ndarray] = {}
    for i, rows, ranks in found:
        if i not in layouts:
            layouts[i] = plan.bins(plan.pairs[i]).layout
        flat, of_pixels = ranks.reshape(-1), labels[rows].reshape(-1)
        count(flat, of_pixels, layouts[i], Counts(counts.low[i], counts.carries[i]))
        if plan.thresholds:
            count_above(flat, of_pixels, plan.threshold_ranks[i], above[i])


def write_ranks(found: Ranks, maps: Mapping[int, np.ndarray]) -> None:
    """Write ranks as they come into whole maps, float32 (H, W) by the index of a pair."""
    for i, rows, ranks in found:
        maps[i][rows] = ranks
