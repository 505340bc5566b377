"""Scores of whole images that are smoothed: at the boundaries of classes, by a wide Gaussian, within segments."""

import numpy as np

RADII = (3, 2, 1, 0)
"""By how much the boundaries are widened, round after round."""

SPACING, REACH = 6, 3
"""Distance of the Gaussian's taps in pixels, and how many there are on either side."""


def boundaries(classes: np.ndarray) -> np.ndarray:
    """Return where classes, int (H, W), meet: the greatest in a cross is not the least in a square: bool (H, W)."""
    padded = np.pad(classes, 1, mode="edge")
    height, width = classes.shape
    around = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.maximum.reduce([around[i] for i in (1, 3, 4, 5, 7)]) != np.minimum.reduce(around)


def widened(area: np.ndarray, radius: int) -> np.ndarray:
    """Return an area, bool (H, W), dilated by a diamond of a radius."""
    for _ in range(radius):
        grown = area.copy()
        grown[1:] |= area[:-1]
        grown[:-1] |= area[1:]
        grown[:, 1:] |= area[:, :-1]
        grown[:, :-1] |= area[:, 1:]
        area = grown
    return area


def suppressed(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return scores whose boundary pixels have the mean of their neighbours that are none: float64 (H, W).

    Four rounds, from wide boundaries to narrow ones; where no neighbour is outside of the boundary, the old value
    stays. Jung et al., ICCV 2021, section 3.3.
    """
    edges, scores = boundaries(classes), scores.astype(np.float64)
    for radius in RADII:
        inside = widened(edges, radius)
        total, count = _square_sum(np.where(inside, 0, scores)), _square_sum((~inside).astype(np.float64))
        means = np.divide(total, count, out=scores.copy(), where=count > 0)
        scores = np.where(inside, means, scores)
    return scores


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Return scores under a Gaussian of 7 x 7 taps, SPACING pixels apart, sigma of one tap: float64 (H, W)."""
    weights = np.exp(-(np.arange(-REACH, REACH + 1) ** 2) / 2)
    weights /= weights.sum()
    # Separable: first the rows, then the columns; beyond the image its edge goes on.
    for axis in (0, 1):
        reach = SPACING * REACH
        padded = np.pad(scores, [(reach, reach) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
        size = scores.shape[axis]
        taps = [padded.take(np.arange(SPACING * i, SPACING * i + size), axis) for i in range(weights.size)]
        scores = sum((weight * tap for weight, tap in zip(weights, taps, strict=True)), np.zeros(scores.shape))
    return scores


def half_of_segments(scores: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return half the scores and half their means within segments, int (H, W): float64 (H, W)."""
    flat = segments.reshape(-1)
    count = np.bincount(flat)
    means = np.bincount(flat, scores.reshape(-1).astype(np.float64)) / np.maximum(count, 1)
    return (scores + means[segments]) / 2


def _square_sum(values: np.ndarray) -> np.ndarray:
    """Return the sums over squares of 3 x 3 pixels; beyond the image its edge goes on."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
