"""How far figures would move with other images: bootstrap, intervals, tests, and what choosing on the labels gained.

Images, not pixels, are what a data set samples: pixels of one image hang together. All functions are of arrays;
`counts` are histograms of single images, int (rows, images, 2, bins) by falling score, normal pixels before anomalous
ones, with the same images in the same order for all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit, stdtrit

from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.kernels.curves import replicates
from logitpipe.stages.streams import in_parallel

FIGURES = ("auprc", "fpr95", "auroc")
"""In the order of the last axis of all figures here."""

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
"""A fixed seed: two people with the same results print the same intervals."""

LEAST = 1e-6
"""Fractions nearer to 0 or 1 are taken as this on the scale of intervals."""

Scale = Literal["plain", "logit"]
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
    effective : as how many images of equal weight they count, see `effective_images`
    """

    values: np.ndarray
    resampled: np.ndarray
    left_out: np.ndarray
    redrawn: int
    effective: float

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
    pixels = present.all(axis=1, keepdims=True) if reading.pooling == "images" else counts[0].sum(axis=-1)
    moved, left_out = values[..., 1 : resamples + 1], values[..., resamples + 1 :]
    return Bootstrap(values[..., 0], moved, left_out, redrawn, effective_images(pixels))


def effective_images(pixels: np.ndarray) -> float:
    """Return as how many images of equal weight some images count: (sum w)^2 / sum w^2 (Kish, 1965).

    Parameters
    ----------
    pixels : (images, classes), the weights; the class that is spread least evenly decides
    """
    weights = pixels.astype(np.float64)
    return float((weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)).min())


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


def intervals(
    values: np.ndarray,
    resampled: np.ndarray,
    left_out: np.ndarray,
    effective: float,
    level: float = LEVEL,
    scale: Scale = "plain",
) -> np.ndarray:
    """Return confidence intervals of figures, or of differences of figures: float64 (..., 2).

    They reach Student's t times the standard error to either side. The error is the larger one of jackknife (Tukey,
    1958) and bootstrap, the latter times sqrt(n / (n - 1)), as a resample of n images spreads by that too little
    (Hesterberg, 2015). The degrees of freedom are the smaller one of two estimates: Satterthwaite's (1946), from how
    unevenly single images move the figure, and the effective number of images less 1, as for clusters of unequal size
    (Carter, Schnepel and Steigerwald, 2017). `benchmarks/coverage.py` compares them with BCa intervals.

    Parameters
    ----------
    values : float64 (...)
    resampled : float64 (..., resamples)
    left_out : float64 (..., images), without each image in turn
    effective : `Bootstrap.effective`
    scale : "logit": of fractions, which stay within 0 and 1 (for areas under precision-recall curves: Boyd, Eng and
        Page, 2013); "plain": of differences
    """
    n = left_out.shape[-1]
    if n < 2:
        return np.full((*values.shape, 2), np.nan)
    # An image without which a class has no pixel has no influence that could be computed; it counts as 0.
    moved = np.nan_to_num(left_out - np.nanmean(left_out, axis=-1, keepdims=True))
    squares, fourths = (moved**2).sum(axis=-1), (moved**4).sum(axis=-1)
    jackknife, spread = np.sqrt((n - 1) / n * squares), resampled.std(axis=-1) * np.sqrt(n / (n - 1))
    uneven = fourths - squares**2 / n
    # Where all images move a figure alike, nothing is uneven; rounding can leave less than 0.
    freedom = np.divide(
        2 * squares**2, uneven, out=np.full(squares.shape, n - 1.0), where=uneven > 1e-12 * squares**2
    )
    reach = np.maximum(jackknife, spread) * stdtrit(
        np.clip(freedom, 1, max(1, min(n, effective) - 1)), (1 + level) / 2
    )
    sides = np.array([-1.0, 1.0])
    if scale == "plain":
        return values[..., None] + sides * reach[..., None]
    within = np.clip(values, LEAST, 1 - LEAST)
    ends = expit((logit(within))[..., None] + sides * (reach / (within * (1 - within)))[..., None])
    # A figure at a limit lies beyond what the scale can hold; its interval holds it all the same.
    return np.stack([np.minimum(ends[..., 0], values), np.maximum(ends[..., 1], values)], axis=-1)


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
