"""How far figures would move with other images: bootstrap, intervals, tests, and what choosing on the labels gained.

Images, not pixels, are what a data set samples: pixels of one image hang together. All functions are of arrays;
`counts` are histograms of single images, int (rows, images, 2, bins) by falling score, normal pixels before anomalous
ones, with the same images in the same order for all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.kernels.curves import replicates
from logitpipe.stages.streams import in_parallel

FIGURES = ("auprc", "fpr95", "auroc")
"""In the order of the last axis of all figures here."""

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
EXACT_IMAGES = 14
"""Most images for which all 2^n signs are tried."""
SIGNS = 20_000
"""Number of random signs for more images: the standard error of a p of 0.05 is 0.0015."""

READING = Reading()
_RULES = {"first": replicates.FIRST, "linear": replicates.LINEAR, "above": replicates.ABOVE}


@dataclass(frozen=True)
class Bootstrap:
    """Figures of some rows over one data set, and how they move with its images.

    Parameters
    ----------
    values : float64 (rows, 3), of all images pooled
    resampled : float64 (rows, 3, resamples); the same resample is of the same images in every row
    left_out : float64 (rows, 3, images), without each image in turn; NaN where a class has no pixel then
    redrawn : how many resamples had no anomalous or no normal pixel and were drawn again
    """

    values: np.ndarray
    resampled: np.ndarray
    left_out: np.ndarray
    redrawn: int

    @property
    def images(self) -> int:
        """How many images the data set has."""
        return self.left_out.shape[-1]


def bootstrap(
    counts: np.ndarray, reading: Reading = READING, resamples: int = RESAMPLES, seed: int = SEED, workers: int = 1
) -> Bootstrap:
    """Return the figures of rows over resamples of their images, which are drawn with replacement.

    Parameters
    ----------
    counts : int (rows, images, 2, bins), see above
    reading : how figures are read off a curve
    workers : threads that share the rows

    Raises
    ------
    ValueError
        No image has anomalous pixels, or none has normal ones.
    """
    images = counts.shape[1]
    present = counts.sum(axis=(0, 3)) > 0
    if reading.pooling == "images":  # one with both classes must be drawn
        present &= present.all(axis=1, keepdims=True)
    weights, redrawn = resample(present, resamples, seed)
    # The whole data set and, for the acceleration of an interval, the data set without each image.
    weights = np.concatenate([np.ones((1, images)), weights, 1 - np.eye(images)]).astype(np.float32)
    found = in_parallel(lambda row: _weighted(counts[row], weights, reading), range(len(counts)), workers)
    values = np.stack(found).transpose(0, 2, 1)
    return Bootstrap(values[..., 0], values[..., 1 : resamples + 1], values[..., resamples + 1 :], redrawn)


def resample(present: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, int]:
    """Draw images with replacement, as many as there are; where a class is missing, draw again.

    Parameters
    ----------
    present : bool (images, 2), whether an image has normal and anomalous pixels

    Returns
    -------
    weights : int64 (resamples, images), how often each image was drawn
    redrawn : how many draws were thrown away

    Raises
    ------
    ValueError
        A class occurs in no image.
    """
    if not present.any(axis=0).all():
        raise ValueError("normal and anomalous pixels are both needed")
    noise, images = np.random.default_rng(seed), len(present)
    weights, redrawn = np.zeros((resamples, images), np.int64), 0
    todo = np.arange(resamples)
    while todo.size:
        # Whole images, never pixels: neighbouring pixels are all but copies of one another.
        drawn = noise.integers(images, size=(todo.size, images))
        weights[todo] = [np.bincount(draw, minlength=images) for draw in drawn]
        todo = todo[~((weights[todo] > 0) @ present).all(axis=1)]
        redrawn += todo.size
    return weights, redrawn


def image_figures(counts: np.ndarray, reading: Reading = READING) -> np.ndarray:
    """Return the figures of single images: float64 (rows, images, 3), NaN where a class has no pixel."""
    return _figures(counts.reshape(-1, *counts.shape[2:]), reading).reshape(*counts.shape[:2], len(FIGURES))


def intervals(values: np.ndarray, resampled: np.ndarray, left_out: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return confidence intervals of figures, or of differences of figures: float64 (..., 2).

    BCa (Efron, 1987) with the quantiles of Student's t, widened by sqrt(n / (n - 1)) (Hesterberg, 2015): images are
    few, and a resample of n spreads by that factor too little.

    Parameters
    ----------
    values : float64 (...)
    resampled : float64 (..., resamples)
    left_out : float64 (..., images), without each image in turn
    """
    n = left_out.shape[-1]
    if n < 2:
        return np.full((*values.shape, 2), np.nan)
    z = np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)
    return bca(values, resampled, left_out, float(z))


def bca(values: np.ndarray, resampled: np.ndarray, left_out: np.ndarray, z: float) -> np.ndarray:
    """Return BCa intervals (Efron, 1987) that reach `z` standard deviations to either side: float64 (..., 2)."""
    B = resampled.shape[-1]
    below = (resampled < values[..., None]).mean(axis=-1) + (resampled == values[..., None]).mean(axis=-1) / 2
    # Clipped by half a resample: where all of them lie on one side, the bias would be infinite.
    bias = ndtri(np.clip(below, 0.5 / B, 1 - 0.5 / B))[..., None]
    # An image without which a class has no pixel has no influence that could be computed; it counts as 0.
    influence = np.nan_to_num(np.nanmean(left_out, axis=-1, keepdims=True) - left_out)
    squares = (influence**2).sum(axis=-1, keepdims=True)
    cubes = (influence**3).sum(axis=-1, keepdims=True)
    acceleration = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)
    reach = bias + np.array([-z, z])
    # Without bias and acceleration these are the shares of a plain percentile interval.
    shares = ndtr(bias + reach / (1 - acceleration * reach))
    ranked = np.sort(resampled, axis=-1)
    places = shares * (B - 1)
    low = np.floor(places).astype(np.int64)
    lower, upper = (np.take_along_axis(ranked, np.minimum(low + step, B - 1), axis=-1) for step in (0, 1))
    return lower + (upper - lower) * (places - low)


def sign_flip(differences: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Return p values of the sign-flip test for a mean difference of 0: float64 (pairs,).

    The two-sided test of Fisher (1935): exact up to EXACT_IMAGES images, of SIGNS draws beyond.

    Parameters
    ----------
    differences : float64 (pairs, images)
    """
    n = differences.shape[1]
    exact = n <= EXACT_IMAGES
    if exact:
        bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(seed).integers(2, size=(SIGNS, n))
    # What float64 rounds off must not tell a sum from its mirror image.
    observed = np.abs(differences.sum(axis=1)) * (1 - 1e-12)
    reached = np.zeros(len(differences), np.int64)
    for block in np.array_split(1 - 2.0 * bits, max(1, len(bits) * len(differences) // 2_000_000)):
        reached += (np.abs(block @ differences.T) >= observed).sum(axis=0)
    # Of draws the observed signs themselves are one more, so that p is never 0.
    return reached / len(bits) if exact else (reached + 1) / (len(bits) + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for their number (Holm, 1979): float64 (tests,)."""
    order = np.argsort(p)
    # A corrected p must not be smaller than that of a test with a smaller p: hence the running maximum.
    steps = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected


@dataclass(frozen=True)
class Choice:
    """What choosing the best of several rows on their own labels gained over a row that no label chose.

    Parameters
    ----------
    best : index of the chosen row
    gain : its figure less that of the reference
    optimism : by how much such a gain is too large on average, as the bootstrap estimates it
    """

    best: int
    gain: float
    optimism: float


def choice(values: Sequence[float], resampled: np.ndarray, reference: int) -> Choice:
    """Return what choosing the row with the highest figure gained, and how much of that is the choice's own doing.

    In every resample the best row is chosen again; its gain there, less its gain on all images, is how far that
    choice flatters itself (Efron, 1983; Harrell, 1996). Gains, not figures, are compared: a resample's figures are
    biased whoever chooses.

    Parameters
    ----------
    values : of each row, over all images
    resampled : float64 (rows, resamples)
    reference : index of the row that no label chose
    """
    gains = np.asarray(values) - values[reference]
    again = resampled - resampled[reference]
    chosen = resampled.argmax(axis=0)
    optimism = (again[chosen, np.arange(resampled.shape[1])] - gains[chosen]).mean()
    best = int(np.argmax(values))
    return Choice(best, float(gains[best]), float(optimism))


def _figures(counts: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the figures of each of (n, 2, bins) histograms: float64 (n, 3)."""
    found: np.ndarray = replicates.figures_of(
        np.ascontiguousarray(counts), _RULES[reading.fpr], reading.auprc == "trapezoid"
    )
    return found


def _weighted(counts: np.ndarray, weights: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the figures of one row with its images weighted: float64 (n, 3)."""
    if reading.pooling == "images":
        of_images = _figures(counts, reading)
        # An image without one of the classes has no figures and no weight; a resample of such images has no mean.
        weights = weights * ~np.isnan(of_images[:, 0])
        total = weights.sum(axis=1, keepdims=True)
        return np.divide(
            weights @ np.nan_to_num(of_images), total, out=np.full((len(weights), 3), np.nan), where=total > 0
        )
    images, classes, _ = counts.shape
    # Bins that are empty in all images stay empty in every resample; leaving them out makes the product smaller.
    filled = counts.any(axis=(0, 1))
    pooled = weights @ counts[..., filled].reshape(images, -1).astype(np.float32)
    return _figures(pooled.reshape(len(weights), classes, int(filled.sum())), reading)
