"""Where to lay bins: many where the order of pixels decides about a figure, few where it does not.

What a figure's resolution bounds leave open is a sum over bins, or a largest one, and each bin's share falls as the
number of its parts grows. So from how pixels are spread over cells, and how narrow each figure's bounds are wanted,
follows how many bins a cell needs.
"""

from typing import NamedTuple

import numpy as np

from logitpipe.stages.score.figures.metrics import Curve, needed_positives
from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.counting.laid import KEY_BITS, Laid, cell_count, exact, spread

NEIGHBOURS = (1, 8)
"""Cells on either side over which counts are averaged: few pixels say little about one cell."""


class Density(NamedTuple):
    """How the pixels of one pair are spread over the cells of its range.

    Parameters
    ----------
    p, n : float32 (cells,), anomalous and normal pixels of each cell, by rising score: more digits than are needed
    """

    p: np.ndarray
    n: np.ndarray


class Widths(NamedTuple):
    """How wide each figure's resolution bounds may be; infinity where a figure is certain already."""

    auprc: float
    fpr95: float
    auroc: float
    best_f1: float
    best_iou: float


class Slack(NamedTuple):
    """How far a density may be from that of all pixels.

    Parameters
    ----------
    tpr : error of the true positive rate
    best : how much less than the best a threshold has that is the best of all pixels, as a share
    """

    tpr: float
    best: float


SURE = Slack(0.0, 0.0)
"""For a density of all pixels."""


def density(curve: Curve, bins: Bins) -> Density:
    """Return how a curve's pixels are spread over the cells of a range."""
    of_cells = np.zeros((2, cell_count(bins)))
    spread(curve.lows, curve.p, curve.n, exact(bins).layout, of_cells)
    return Density(*of_cells.astype(np.float32))


def lay(bins: Bins, found: Density, widths: Widths, reading: Reading, most: int, slack: Slack = SURE) -> Laid:
    """Return bins by which the figures' bounds come out about as narrow as is wanted.

    Parameters
    ----------
    bins : the range that is divided
    found : how pixels are spread over it, with some of both classes
    most : number of bins, about; where more are wanted, each cell gets its share of them
    slack : how far `found` may be from what will be counted
    """
    needed = _parts(found, widths, reading, slack)
    if (total := needed.sum()) > most:
        needed = np.maximum(needed * (most / total), 1)
    # Powers of two, the nearest; so that the number comes out about right.
    return Laid(bins, np.rint(np.log2(needed)).astype(np.uint8))


def _parts(found: Density, widths: Widths, reading: Reading, slack: Slack) -> np.ndarray:
    """Return the number of bins that each cell needs: float64 (cells,)."""
    found = Density(found.p.astype(np.float64), found.n.astype(np.float64))
    P, N = found.p.sum(), found.n.sum()
    # The most of a cell and its surroundings: a bin too many costs less than one that is missing.
    p, n = (np.max([counts, *(_smooth(counts, each) for each in NEIGHBOURS)], axis=0) for counts in found)
    TP, FP = _above(found.p), _above(found.n)
    # An area's bounds are apart by the sum over bins of what the order within each can change.
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num((TP + p) / (TP + FP + p))
        auprc = p / P * precision * np.nan_to_num(n / (TP + FP + p + n))
        auroc = p / P * n / N
    # With k bins a cell's share is a k-th. Of a given number of bins in all, the sum is the least if each cell has as
    # many as the root of its share says.
    root = np.sqrt(auprc / widths.auprc + auroc / widths.auroc)
    parts = root * root.sum()
    # The FPR is open by the normal pixels of one bin, that in which enough positives are reached.
    needed = needed_positives(int(P), reading.fpr)
    crossing = (TP - slack.tpr * P < needed) & (needed <= TP + found.p + slack.tpr * P)
    parts = np.maximum(parts, np.where(_widened(crossing), n / N / widths.fpr95, 0))
    # So is the best F1, and what is like it: by a bin that might hold a better threshold than all edges.
    for (best, most, share), width in (
        (_f1(TP, FP, found), widths.best_f1),
        (_mean_iou(TP, FP, found), widths.best_iou),
    ):
        near = most >= best * (1 - slack.best)
        parts = np.maximum(parts, np.where(near, share / width, 0))
    return np.clip(parts, 1, 1 << KEY_BITS)


def _f1(TP: np.ndarray, FP: np.ndarray, found: Density) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the best F1 at an edge of a cell, the most that each cell could have, and how much its order changes."""
    P, (p, n) = found.p.sum(), found
    most = 2 * (TP + p) / (P + TP + p + FP)
    at_edges = 2 * (TP + p) / (P + TP + p + FP + n)
    return float(at_edges.max()), most, most - at_edges


def _mean_iou(TP: np.ndarray, FP: np.ndarray, found: Density) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the same of the mean IoU of both classes."""
    P, N, (p, n) = found.p.sum(), found.n.sum(), found
    most = ((TP + p) / (P + FP) + (N - FP) / (N + P - TP - p)) / 2
    at_edges = ((TP + p) / (P + FP + n) + (N - FP - n) / np.maximum(N + P - TP - p, 1)) / 2
    return float(at_edges.max()), most, most - at_edges


def _above(counts: np.ndarray) -> np.ndarray:
    """Return how many pixels lie in higher cells than each."""
    above: np.ndarray = np.cumsum(counts[::-1])[::-1] - counts
    return above


def _smooth(counts: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the mean over each cell and some neighbours on either side."""
    width = 2 * neighbours + 1
    sums = np.cumsum(np.pad(counts, (neighbours + 1, neighbours)))
    smooth: np.ndarray = (sums[width:] - sums[:-width]) / width
    return smooth


def _widened(chosen: np.ndarray) -> np.ndarray:
    """Return some cells and their neighbours: numbers at the edge of a cell may lie on its other side."""
    wide: np.ndarray = chosen.copy()
    wide[1:] |= chosen[:-1]
    wide[:-1] |= chosen[1:]
    return wide
