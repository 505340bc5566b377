"""Bins laid where figures need them: the same counts as of any bins, and bounds as narrow as was asked for."""

from functools import partial

import numpy as np
import pytest

from logitpipe.stages.score.figures.laying import Widths, density, lay
from logitpipe.stages.score.figures.metrics import Curve, all_figures
from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL, Bins, count
from logitpipe.stages.score.kernels.counting.counts import Counts, filled
from logitpipe.stages.score.kernels.counting.laid import KEY_BITS, Laid, cell_count, count_laid, points
from logitpipe.stages.score.statistics.ordered import sorted_figures

BINS = Bins(14, negative=(-3, 2), positive=(-3, 3))


def counted(scores: np.ndarray, labels: np.ndarray, laid: Laid) -> Curve:
    counts = Counts(np.zeros(2 * laid.count + 1, np.uint8), np.zeros(2 * laid.count + 1, np.uint32))
    count_laid(scores, labels, laid.layout, laid.table, counts)
    return Curve(*points(counts, laid.table, laid.layout))


@pytest.mark.parametrize("decimals", [0, 2, 9])
@pytest.mark.parametrize("parts", [0, 3, KEY_BITS, None])
def test_every_score_lies_above_the_edge_of_its_point_and_below_that_of_the_one_before(decimals, parts):
    """Also infinities, zeros of both signs, what lies beyond the range, and ties."""
    noise = np.random.default_rng(decimals)
    scores = np.round(noise.normal(0, 2, 3001), decimals).astype(np.float32)
    scores[:25] = np.repeat(np.float32([-np.inf, np.inf, 0, -0.0, 1e-9]), 5)
    labels = noise.choice(np.uint8([NORMAL, ANOMALY, IGNORED]), 3001, p=(0.7, 0.2, 0.1))
    divided = noise.integers(0, KEY_BITS - 2, cell_count(BINS)) if parts is None else np.full(cell_count(BINS), parts)
    if parts == KEY_BITS:  # for all cells that would be many bins
        divided = np.where(noise.random(divided.size) < 0.01, KEY_BITS, 2)
    curve = counted(scores, labels, Laid(BINS, divided.astype(np.uint8)))
    TP, FP = np.cumsum(curve.p), np.cumsum(curve.n)
    # Zero is a bin of its own, which holds all that is near it.
    for low, tp, fp in zip(curve.lows, TP, FP, strict=True):
        assert (
            tp == ((scores >= low) & (labels == ANOMALY)).sum() and fp == ((scores >= low) & (labels == NORMAL)).sum()
        )
    assert (np.diff(curve.lows) < 0).all() and curve.lows[-1] == -np.inf
    for i in np.flatnonzero(curve.tied & (curve.p > 0)):
        high = curve.lows[i - 1] if i else np.inf
        inside = scores[(scores >= curve.lows[i]) & (scores < high) & (labels != IGNORED)]
        assert np.unique(inside).size <= 1


def test_counts_beyond_a_byte_are_carried():
    laid = Laid(BINS, np.zeros(cell_count(BINS), np.uint8))
    scores = np.repeat(np.float32([2.5, -1.0]), (1000, 700))
    curve = counted(scores, np.repeat(np.uint8([ANOMALY, NORMAL]), (1000, 700)), laid)
    assert curve.p.tolist() == [1000, 0] and curve.n.tolist() == [0, 700]


def test_bounds_become_as_narrow_as_they_were_wanted():
    noise, N, P = np.random.default_rng(1), 400_000, 8_000
    scores = np.concatenate([noise.normal(-1, 1, N), noise.normal(0.5, 1, P)]).astype(np.float32)
    labels, reading = np.repeat(np.uint8([NORMAL, ANOMALY]), (N, P)), Reading()
    bins = Bins(10, negative=(-16, 4), positive=(-16, 4))
    counts = Counts(np.zeros(2 * bins.count + 1, np.uint8), np.zeros(2 * bins.count + 1, np.uint32))
    count(scores, labels, bins.layout, counts)
    found, p, n = filled(counts, bins.count)
    coarse = Curve(found, p, n, p + n == 1, bins.lower_edges(found))
    made = partial(lay, bins, density(coarse, bins), reading=reading)
    widths = Widths(1e-6, 1e-6, 1e-6, 1e-6, 1e-6)
    fine = made(widths, most=1 << 22)
    before, after = all_figures(coarse, reading), all_figures(counted(scores, labels, fine), reading)
    true = sorted_figures(scores[labels == ANOMALY], scores[labels == NORMAL], reading)
    assert before and after
    for name in ("auprc", "fpr95", "auroc"):
        bounds, coarser = getattr(after, name), getattr(before, name)
        # Twice what was wanted: the order of few pixels is not spread as evenly as is reckoned with.
        assert bounds.upper - bounds.lower < max(2 * getattr(widths, name), 1.5 / N) < coarser.upper - coarser.lower
        assert bounds.lower <= getattr(true, name).value <= bounds.upper
    assert after.best_f1.value.upper - after.best_f1.value.lower < 2e-6
    assert made(widths, most=1 << 12).count < 1 << 14
    certain = Widths(*[np.inf] * 5)
    assert made(certain, most=1 << 20).count == cell_count(bins)
