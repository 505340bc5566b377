"""What the scores of a network are like where nothing is anomalous: per class, per temperature and per method.

Sums over images are of fractions, without rounding: in whatever order and parts they are added, the result is the
same to the bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import NORMAL
from logitpipe.stages.score.kinds.bands import sampled
from logitpipe.stages.score.kinds.pixel import PixelLogits
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Pair, Plan

BAND = 64
"""Rows of an image whose logits are in memory at a time."""


def fractions(values: np.ndarray) -> np.ndarray:
    """Return floats as the fractions that they are: an object array of the same shape."""
    return np.array([Fraction(value) for value in values.ravel().tolist()], object).reshape(values.shape)


def no_fractions(shape: Sequence[int]) -> np.ndarray:
    """Return zeros as an object array."""
    return np.full(tuple(shape), Fraction(0), object)


def to_text(sums: np.ndarray) -> np.ndarray:
    """Return fractions as text, in which they travel; `from_text` reads it back."""
    return np.array([str(value) for value in sums.ravel().tolist()], str).reshape(sums.shape)


def from_text(texts: np.ndarray) -> np.ndarray:
    """Return the fractions that `to_text` wrote down; ValueError where it is none."""
    return np.array([Fraction(str(text)) for text in texts.ravel().tolist()], object).reshape(texts.shape)


@dataclass
class Moments:
    """Number, mean and variance of several groups of values, from those of parts of each.

    Parameters
    ----------
    count : int64 (m,), values of each group
    sums : fractions (3, m): over the parts of n mean, of n mean**2, and of the squares around the part's own mean
    """

    count: np.ndarray
    sums: np.ndarray

    @classmethod
    def zero(cls, groups: int) -> "Moments":
        """Return the moments of nothing."""
        return cls(np.zeros(groups, np.int64), no_fractions((3, groups)))

    def add_part(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        """Add a part of each group: int (m,), float64 (m,), and float64 (m,) squares around that mean."""
        n, m = np.array(count.tolist(), object), fractions(mean)
        self.count += count
        self.sums += np.stack([n * m, n * m * m, fractions(squares)])

    def add(self, other: "Moments") -> None:
        """Add those of other parts."""
        self.count += other.count
        self.sums += other.sums

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and unbiased variance: float64 (m,); NaN for fewer than one and two values."""
        pairs = [_finish(int(n), *sums) for n, sums in zip(self.count, self.sums.T, strict=True)]
        mean, variance = np.array(pairs, np.float64).reshape(-1, 2).T
        return mean, variance

    def pooled(self) -> tuple[float, float]:
        """Return mean and unbiased variance of the values of all groups together."""
        # Not the mean of the groups' variances: that would lack how far their means lie apart.
        return _finish(int(self.count.sum()), *self.sums.sum(axis=1))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as plain arrays."""
        return {"count": self.count, "sums": to_text(self.sums)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], groups: int) -> "Moments":
        """Return what `to_arrays` wrote down of so many groups; ValueError where it is not that."""
        found = cls(arrays["count"].astype(np.int64), from_text(arrays["sums"]))
        if found.count.shape != (groups,) or found.sums.shape != (3, groups):
            raise ValueError(f"moments of {groups} groups were expected, those of {found.count.shape} were found")
        return found


def _finish(n: int, first: Fraction, second: Fraction, squares: Fraction) -> tuple[float, float]:
    if n == 0:
        return float("nan"), float("nan")
    # As fractions: in floats the difference of two large sums would leave nothing of a small variance.
    total = squares + second - first * first / n
    return float(first / n), float(total / (n - 1)) if n > 1 else float("nan")


@dataclass
class InDistributionTotal:
    """Sums over images (see `statistics.Total`).

    Parameters
    ----------
    scores : of each pair's scores
    largest : of the largest logit, by the class that has it; of no class for mask networks
    posteriors : fractions (t, K, K), sums of softmax(z / T) over the pixels that a class is predicted for
    pixels, images : how many have been added
    """

    scores: Moments
    largest: Moments
    posteriors: np.ndarray
    pixels: int = 0
    images: int = 0

    def add(self, other: "InDistributionTotal") -> None:
        """Add those of other images."""
        self.scores.add(other.scores)
        self.largest.add(other.largest)
        self.posteriors += other.posteriors
        self.pixels += other.pixels
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as plain arrays."""
        moments = {"scores": self.scores.to_arrays(), "largest": self.largest.to_arrays()}
        return {
            **{f"{name}_{key}": array for name, arrays in moments.items() for key, array in arrays.items()},
            "posteriors": to_text(self.posteriors),
            "pixels": np.array(self.pixels),
            "images": np.array(self.images),
        }


@dataclass(frozen=True)
class Found:
    """What a total comes to.

    Parameters
    ----------
    scores : of each pair, mean and deviation of its scores
    count, mean, variance : float64 (K,), of the largest logit of the pixels that a class is predicted for; the
        variance is unbiased
    pooled : mean and unbiased variance of the largest logit of all pixels
    posteriors : temperature -> float64 (K, K), the mean of softmax(z / T) over the pixels that a class is predicted
        for; a row of NaN for a class that is predicted nowhere
    pixels, images : what it was computed from
    """

    scores: dict[Pair, tuple[float, float]]
    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    pooled: tuple[float, float]
    posteriors: dict[float, np.ndarray]
    pixels: int
    images: int


@dataclass(frozen=True)
class InDistribution:
    """Moments of scores and largest logits, and mean posteriors (see `statistics.Statistic`).

    The largest logit of each predicted class: Jung et al., "Standardized Max Logits", ICCV 2021. Mean posteriors:
    Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022. Only normal pixels
    count. The sums of single images are float64; over images they are exact.

    Parameters
    ----------
    plan : its pairs, at all of its temperatures; its protocol brings no scores to 0..1
    """

    plan: Plan

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return 400 * (3 * len(self.plan.pairs) + len(self.temperatures) * self.classes**2) + (64 << 20)

    @property
    def classes(self) -> int:
        """How many classes have statistics of their own; mask networks have no logits of pixels, and so none."""
        return len(self.plan.in_distribution) if self.plan.schema.kind == "pixel" else 0

    @cached_property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures of mean posteriors."""
        return self.plan.temperatures if self.classes else ()

    def zero(self) -> InDistributionTotal:
        """See `Statistic`."""
        K = self.classes
        return InDistributionTotal(
            Moments.zero(len(self.plan.pairs)), Moments.zero(K), no_fractions((len(self.temperatures), K, K))
        )

    def of_image(self, picture: Picture, total: InDistributionTotal, threads: int = 1) -> None:  # noqa: ARG002
        """Add one image, by one thread."""
        counted = picture.labels == NORMAL
        pixels, pairs = int(counted.sum()), range(len(self.plan.pairs))
        mean, squares = np.zeros(len(pairs)), np.zeros(len(pairs))
        # Scores first: where logits are not finite, this says so.
        for i, ranks in picture.score_maps(self.plan, pairs):
            scores = self.plan.formula(self.plan.pairs[i], ranks[counted])
            if pixels:
                mean[i] = scores.mean()
                squares[i] = np.square(scores - mean[i]).sum()
        total.scores.add_part(np.full(len(pairs), pixels), mean, squares)
        if isinstance(picture.logits, PixelLogits):
            self._add_logits(picture.logits, counted, total)
        total.pixels += pixels
        total.images += 1

    def _add_logits(self, logits: PixelLogits, counted: np.ndarray, total: InDistributionTotal) -> None:
        K = self.classes
        tops, classes = [np.zeros(0)], [np.zeros(0, np.int64)]
        posteriors = np.zeros((len(self.temperatures), K, K))
        for z in self._counted_logits(logits, counted):
            top, of_class = z.max(axis=0), z.argmax(axis=0)
            tops.append(top.astype(np.float64))
            classes.append(of_class)
            # As a matrix of zeros and ones: one product sums the posteriors for all predicted classes.
            belongs = (of_class == np.arange(K)[:, None]).astype(np.float64 if self.plan.fine else np.float32)
            for t, T in enumerate(self.temperatures):
                # Nearly equal classes differ in digits that float32 does not hold.
                distances = (z.astype(np.float64) if self.plan.fine else z) - top
                e = np.exp(distances / distances.dtype.type(T))
                posteriors[t] += belongs @ (e / e.sum(axis=0)).T
        top, of_class = np.concatenate(tops), np.concatenate(classes)
        count = np.bincount(of_class, minlength=K)
        mean = np.bincount(of_class, top, K) / np.maximum(count, 1)
        squares = np.bincount(of_class, np.square(top - mean[of_class]), K)
        total.largest.add_part(count, mean, squares)
        total.posteriors += fractions(posteriors)

    def _counted_logits(self, logits: PixelLogits, counted: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the logits of the known classes of the pixels that count, a band of rows at a time: (K, n)."""
        for band in logits.bands((counted.shape[0], counted.shape[1])):
            for start in range(band.rows.start, band.rows.stop, BAND):
                rows = slice(start, min(start + BAND, band.rows.stop))
                if counted[rows].any():
                    yield sampled(band, self.plan.in_distribution, rows)[:, counted[rows]]

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> InDistributionTotal:
        """See `Statistic`."""
        zero = self.zero()
        scores, largest = (
            Moments.from_arrays({key: arrays[f"{name}_{key}"] for key in ("count", "sums")}, own.count.size)
            for name, own in (("scores", zero.scores), ("largest", zero.largest))
        )
        posteriors = from_text(arrays["posteriors"])
        if posteriors.shape != zero.posteriors.shape:
            raise ValueError(f"posteriors of {zero.posteriors.shape} were expected, {posteriors.shape} were found")
        return InDistributionTotal(scores, largest, posteriors, int(arrays["pixels"]), int(arrays["images"]))

    def finish(self, total: InDistributionTotal) -> Found:
        """Return the statistics."""
        mean, variance = total.scores.finish()
        count = total.largest.count
        # Rounded here for the first time: until now sums over images were exact.
        sums = total.posteriors.astype(np.float64)
        with np.errstate(invalid="ignore"):
            posteriors = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], np.nan)
        return Found(
            dict(zip(self.plan.pairs, zip(mean.tolist(), np.sqrt(variance).tolist(), strict=True), strict=True)),
            count,
            *total.largest.finish(),
            total.largest.pooled(),
            dict(zip(self.temperatures, posteriors, strict=True)),
            total.pixels,
            total.images,
        )
