"""The curve that the official tool of SegmentMeIfYouCan draws, and its threshold of best F1.

It keeps few thresholds of each image: quantiles of the float16 scores of anomalous and of normal pixels (as the
tool's `PixBinaryClass` does, 2023). So its best threshold is not that of all scores, and component figures differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.kernels.counting.halves import count_halves, half_values
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.streams import in_parallel

QUANTILES = 384
"""Thresholds of each class of an image, at most."""

IMAGE_BYTES = (2 * QUANTILES + 2) * 24
"""Memory for the thresholds of one pair on one image, in bytes."""


@dataclass
class Thresholds:
    """Thresholds of each image, with the pixels between them (see `statistics.Total`).

    Parameters
    ----------
    pairs : how many there are
    by_image : index of the image -> for each pair float64 (3, n): thresholds, rising, then the anomalous and the
        normal pixels from each up to the next
    """

    pairs: int
    by_image: dict[int, list[np.ndarray]] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images have been added."""
        return len(self.by_image)

    def add(self, other: "Thresholds") -> None:
        """Add those of other images."""
        self.by_image |= other.by_image

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return int64 (n,) images, int64 (n, pairs) numbers of thresholds, and all of these, float64 (3, m)."""
        parts = [part for row in self.by_image.values() for part in row]
        sizes = np.array([part.shape[1] for part in parts], np.int64).reshape(len(self.by_image), self.pairs)
        curves = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
        return {"images": np.array(list(self.by_image), np.int64), "sizes": sizes, "curves": curves}

    def curve(self, pair: int) -> np.ndarray:
        """Return the thresholds of all images, falling, and all pixels that reach each: float64 (3, n)."""
        curve = np.concatenate([*(row[pair] for row in self.by_image.values()), np.zeros((3, 0))], axis=1)
        curve = curve[:, np.argsort(curve[0])[::-1]]
        curve[1:] = np.cumsum(curve[1:], axis=1)
        # Of equal thresholds the last one has counted the pixels of all images.
        return curve[:, np.append(curve[0, 1:] != curve[0, :-1], True)[: curve.shape[1]]]


@dataclass(frozen=True)
class PercentileCurve:
    """The official curve of each pair of a plan (see `statistics.Statistic`); `image_count` is for the memory."""

    plan: Plan
    image_count: int

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return self.image_count * len(self.plan.pairs) * IMAGE_BYTES + (64 << 20)

    def zero(self) -> Thresholds:
        """See `Statistic`."""
        return Thresholds(len(self.plan.pairs))

    def of_image(self, picture: Picture, total: Thresholds, threads: int = 1) -> None:
        """Find the quantiles of all pairs; threads share an image by its temperatures."""
        parts: list[np.ndarray] = [np.zeros((3, 0))] * len(self.plan.pairs)
        labels = picture.labels.reshape(-1)

        def look(pairs: list[int]) -> None:
            for i, ranks in picture.score_maps(self.plan, pairs):
                counts = np.zeros((2, 1 << 16), np.int64)
                count_halves(_scores(self.plan, i, ranks).reshape(-1), labels, counts)
                parts[i] = between_quantiles(counts[ANOMALY], counts[NORMAL])

        in_parallel(look, split(self.plan, threads), threads)
        total.by_image[picture.image] = parts

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Thresholds:
        """See `Statistic`."""
        sizes = arrays["sizes"]
        if sizes.shape != (len(arrays["images"]), len(self.plan.pairs)) or sizes.sum() != arrays["curves"].shape[1]:
            raise ValueError(f"thresholds of {len(self.plan.pairs)} pairs were expected, {sizes.shape} were found")
        parts = iter(np.split(arrays["curves"], np.cumsum(sizes.reshape(-1))[:-1], axis=1))
        return Thresholds(
            len(self.plan.pairs),
            {image: [next(parts) for _ in self.plan.pairs] for image in arrays["images"].tolist()},
        )

    def finish(self, total: Thresholds) -> list[float | None]:
        """Return the threshold of the best F1 of each pair; None without anomalous or normal pixels."""
        return [best_threshold(total.curve(pair)) for pair in range(len(self.plan.pairs))]


def between_quantiles(anomalous: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the thresholds of one image, and the pixels from each up to the next: float64 (3, n).

    Parameters
    ----------
    anomalous, normal : int64 (2**16,), how often each float16 number occurs, as `count_halves` has them
    """
    sides = []
    for counts in (anomalous, normal):
        (places,) = np.nonzero(counts)
        sides.append((half_values(places).astype(np.float64), counts[places]))
    values = np.concatenate([side[0] for side in sides])
    if not values.size:
        return np.zeros((3, 0))
    # The least threshold is below all scores, and exists whether or not it is a quantile.
    edges = np.unique(np.concatenate([[values.min() - 1], *(_quantiles(*side) for side in sides)]))
    rows = [edges]
    for values, counts in sides:
        # A threshold counts what reaches it: searchsorted on the left leaves equal values above the edge.
        below = np.append(0, np.cumsum(counts))[np.searchsorted(values, edges)]
        rows.append(np.diff(below, append=counts.sum()))
    return np.stack(rows)


def best_threshold(curve: np.ndarray) -> float | None:
    """Return the threshold of the best F1, of equals the highest.

    Parameters
    ----------
    curve : of `Thresholds.curve`
    """
    if not curve.shape[1] or not curve[1:, -1].all():
        return None
    thresholds, tp, fp = curve
    # argmax takes the first of equals, and thresholds fall.
    return float(thresholds[np.argmax(2 * tp / (tp + fp + tp[-1]))])


def _quantiles(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return up to QUANTILES even quantiles, float64, of values that occur so often, as NumPy interpolates them."""
    ends = np.cumsum(counts)
    if not ends.size:
        return np.zeros(0)
    places = np.linspace(0, 1, min(QUANTILES, int(ends[-1]))) * (ends[-1] - 1)
    before = np.floor(places).astype(np.int64)
    after = np.minimum(before + 1, ends[-1] - 1)
    low, high = (values[np.searchsorted(ends, n, side="right")] for n in (before, after))
    # NumPy takes the difference of two float16 numbers as float16.
    share, step = places - before, (high - low).astype(np.float16).astype(np.float64)
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)


def _scores(plan: Plan, pair: int, ranks: np.ndarray) -> np.ndarray:
    """Return scores in the unit that the pair is pooled in, as float32: the files that the tool reads hold them."""
    if plan.pools_scores(plan.pairs[pair].method):
        return np.ascontiguousarray(ranks)
    return plan.formula(plan.pairs[pair], ranks).astype(np.float32)
