"""How often 95 % intervals hold the true figure, for 10, 30 and 100 images: `python -m benchmarks.coverage`.

Made images are as skewed as real ones: most show few anomalous pixels, a few very many, and how well an anomaly
stands out differs from image to image. The truth is the figure of a large population of such images.
"""

import sys

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.sheet import Sheet
from logitpipe.stages.score.figures import bootstrap
from logitpipe.stages.score.figures.bootstrap import FIGURES

IMAGES, BINS, PIXELS = (10, 30, 100), 128, 20_000
POPULATION = 20_000
TRIALS, RESAMPLES = 400, 1000
SEED = 0


def population(count: int, noise: np.random.Generator) -> np.ndarray:
    """Return histograms of images under two methods: int32 (2 methods, images, 2, bins), by falling score.

    The share of anomalous pixels is log-normal around 3 per cent, with a standard deviation of the logarithm of 0.8
    (0.85 on RoadAnomaly21, 0.66 on fs_static), and every fourth image has none. An anomaly stands out by 1.5 standard
    deviations of the scores, give or take one from image to image; the second method follows the first and stands out
    a little less.
    """
    shares = np.exp(noise.normal(np.log(0.03), 0.8, count)).clip(0, 0.6) * (noise.random(count) < 0.75)
    stands_out = noise.normal(1.5, 1.0, count)
    moved = noise.normal(0, 0.4, count)
    scores = np.linspace(6, -4, BINS)
    found = np.zeros((2, count, 2, BINS), np.int32)
    for method, height in enumerate((stands_out, stands_out - 0.2 + noise.normal(0, 0.3, count))):
        for kind, (middle, pixels) in enumerate(((moved, PIXELS * (1 - shares)), (moved + height, PIXELS * shares))):
            density = np.exp(-0.5 * (scores - middle[:, None]) ** 2)
            density /= density.sum(axis=1, keepdims=True)
            found[method, :, kind] = noise.poisson(density * pixels[:, None])
    return found


def coverage(images: int, trials: int, everything: np.ndarray, noise: np.random.Generator) -> dict[str, list[float]]:
    """Return how often the interval of each figure, and of its difference between the methods, holds the truth.

    Returns
    -------
    by figure : share of single figures held, share held by BCa intervals, share of differences held
    """
    truth = bootstrap.image_figures(everything.sum(axis=1, dtype=np.int64)[:, None].astype(np.float32))[:, 0]
    held = np.zeros((3, len(FIGURES)))
    for trial in range(trials):
        drawn = everything[:, noise.integers(everything.shape[1], size=images)]
        moved = bootstrap.bootstrap(drawn, resamples=RESAMPLES, seed=trial)
        single = moved.values[0], moved.resampled[0], moved.left_out[0]
        values, resampled, left_out = (a[0] - a[1] for a in (moved.values, moved.resampled, moved.left_out))
        limits = [
            bootstrap.intervals(*single, moved.effective, scale="logit"),
            bca(*single, 1.959964),
            bootstrap.intervals(values, resampled, left_out, moved.effective),
        ]
        wanted = [truth[0], truth[0], truth[0] - truth[1]]
        held += [
            (low <= true) & (true <= high) for (low, high), true in zip((x.T for x in limits), wanted, strict=True)
        ]
    return {name: (held[:, i] / trials).tolist() for i, name in enumerate(FIGURES)}


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
    shares = ndtr(bias + reach / (1 - acceleration * reach))
    ranked = np.sort(resampled, axis=-1)
    places = shares * (B - 1)
    low = np.floor(places).astype(np.int64)
    lower, upper = (np.take_along_axis(ranked, np.minimum(low + step, B - 1), axis=-1) for step in (0, 1))
    return lower + (upper - lower) * (places - low)


def main() -> None:
    """Print and save the shares; the number of trials can be given."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    noise = np.random.default_rng(SEED)
    everything, sheet = population(POPULATION, noise), Sheet("coverage")
    lines = [
        (images, name, *(f"{100 * share:.1f}" for share in shares))
        for images in IMAGES
        for name, shares in coverage(images, trials, everything, noise).items()
    ]
    title = f"Per cent of 95 % intervals that hold the truth: {trials} trials, {RESAMPLES} resamples each"
    sheet.table(title, ("images", "figure", "interval", "BCa", "interval of a difference"), lines)
    sheet.save()


if __name__ == "__main__":
    main()
