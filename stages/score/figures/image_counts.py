"""Histograms of single images, small enough to be kept: what intervals and tests are computed from.

The bins of a sweep are far too many to be kept for each image. Neighbouring ones are joined: first by a fixed rule,
while images are counted, then, once all are, into BINS groups that lie where they matter for a pair: half of them
evenly by mass, a third evenly by the logarithm of the rank, on which precision depends, and the rest where the true
positive rate passes 95 %.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

BINS = 1024
"""Of the histograms that are kept."""

# Twice as many would be twice the bytes on a cluster, and bring pooled figures of real stores little nearer to the
# true ones: FPR95 to 6e-5 instead of 1e-4, AuPRC to 7e-6 as well.
MOST_JOINED = 4096
"""Bins of an image while others are counted: what fills more is joined further."""

NEAR_95 = (0.93, 0.97)
"""Shares of anomalous pixels found between which bins are kept narrow: FPR95 is read off there."""


class Joined(NamedTuple):
    """One image's histogram, 2**shift neighbouring bins joined into one.

    Parameters
    ----------
    shift : how far bins were joined
    bins : int32 (n,), the filled ones, by falling score, counted from the bin of zero
    p, n : int32 (n,), anomalous and normal pixels
    """

    shift: int
    bins: np.ndarray
    p: np.ndarray
    n: np.ndarray


def _joined(shift: int, bins: np.ndarray, p: np.ndarray, n: np.ndarray) -> Joined:
    """Add up neighbours of the same bin."""
    # Prepended is what differs from the first bin, so that this one is a start too.
    starts = np.flatnonzero(np.diff(bins, prepend=bins[0] + 1 if bins.size else 0))
    sums = [
        np.add.reduceat(counts, starts).astype(np.int32) if starts.size else np.empty(0, np.int32)
        for counts in (p, n)
    ]
    return Joined(shift, bins[starts].astype(np.int32), *sums)


def to_arrays(by_image: Mapping[int, Sequence[Joined]], pairs: int) -> dict[str, np.ndarray]:
    """Return the histograms of images, one for each of so many pairs, as a few arrays.

    Returns
    -------
    of_images : int64 (images,), their indices
    image_shifts, image_sizes : int64 (images, pairs), how far bins were joined, and how many are filled
    image_steps, image_anomalous, image_normal : int32 (n,), from each bin down to the next, and their pixels
    """
    every = [joined for row in by_image.values() for joined in row]
    shape = len(by_image), pairs
    columns = {
        "image_steps": [-np.diff(each.bins, prepend=0) for each in every],
        "image_anomalous": [each.p for each in every],
        "image_normal": [each.n for each in every],
    }
    return {
        "of_images": np.array(list(by_image), np.int64),
        "image_shifts": np.array([each.shift for each in every], np.int64).reshape(shape),
        "image_sizes": np.array([each.bins.size for each in every], np.int64).reshape(shape),
        **{name: np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32) for name, parts in columns.items()},
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[int, list[Joined]]:
    """Return the histograms that `to_arrays` wrote down; a ValueError where the arrays do not fit each other."""
    sizes = arrays["image_sizes"]
    cuts = np.cumsum(sizes.reshape(-1))
    if any(arrays[name].size != sizes.sum() for name in ("image_steps", "image_anomalous", "image_normal")):
        raise ValueError(f"histograms of {sizes.sum()} bins were expected, other numbers were found")
    parts = zip(
        arrays["image_shifts"].reshape(-1).tolist(),
        *(np.split(arrays[name], cuts[:-1]) for name in ("image_steps", "image_anomalous", "image_normal")),
        strict=True,
    )
    every = (
        iter([Joined(shift, -np.cumsum(steps, dtype=np.int32), p, n) for shift, steps, p, n in parts])
        if cuts.size
        else iter(())
    )
    return {image: [next(every) for _ in range(sizes.shape[1])] for image in arrays["of_images"].tolist()}


def image_counts(images: Sequence[Joined]) -> np.ndarray:
    """Return the histograms of all images of one pair over the same bins: int32 (images, 2, BINS), by falling score.

    The first class is normal, the second anomalous. Bins that are not needed stay empty.
    """
    # All go to the coarsest bins among them, as joined bins cannot be divided again.
    shift = max(image.shift for image in images)
    alike = [_joined(shift, image.bins >> (shift - image.shift), image.p, image.n) for image in images]
    # Reversed to falling score, the order of every histogram here; searchsorted below needs the sign changed.
    found = np.unique(np.concatenate([image.bins for image in alike]))[::-1]
    pooled = np.zeros((2, found.size), np.int64)
    places = [np.searchsorted(-found, -image.bins) for image in alike]
    for image, at in zip(alike, places, strict=True):
        pooled[0, at] += image.n
        pooled[1, at] += image.p
    group = _groups(pooled)
    counts = np.zeros((len(images), 2, BINS), np.int32)
    for i, (image, at) in enumerate(zip(alike, places, strict=True)):
        np.add.at(counts[i, 0], group[at], image.n)
        np.add.at(counts[i, 1], group[at], image.p)
    return counts


def _groups(pooled: np.ndarray) -> np.ndarray:
    """Return which of BINS groups each bin, by falling score, belongs to: int64 (n,), rising."""
    n, p = pooled
    mass = n + p
    if mass.size <= BINS:
        return np.arange(mass.size)
    rank = np.cumsum(mass)
    logarithm = np.diff(np.log1p(rank), prepend=0.0)
    recall = np.cumsum(p) / max(p.sum(), 1)
    # A stretch and not the point: in a resample the rate passes 95 % elsewhere.
    near = np.where((recall >= NEAR_95[0]) & (recall <= NEAR_95[1]), mass, 0)
    shares = [(1 / 2, mass), (1 / 3, logarithm), (1 / 6, near if near.any() else mass)]
    density = sum(weight * part / part.sum() for weight, part in shares)
    # By its middle: a bin that holds much goes where most of it lies.
    middle = np.cumsum(density) - density / 2
    return np.minimum((middle * BINS).astype(np.int64), BINS - 1)
