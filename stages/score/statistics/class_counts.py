"""What a network predicts beside what is there: confusion, likelihood and calibration, at each temperature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from logitpipe.stages.score.figures.closed_set import ClosedSetFigures, closed_set_figures
from logitpipe.stages.score.kernels.counting.classes import (
    BINS,
    BRIER,
    NLL,
    NLL_UNIT,
    SUMS,
    UNIT,
    count_logits,
    count_scores,
)
from logitpipe.stages.score.kinds.mask import MaskLogits
from logitpipe.stages.score.kinds.pixel import PixelLogits
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.prediction import class_bands
from logitpipe.stages.streams import in_parallel

_HALF = 32
"""Sums are kept as two int64: over 10**6 images the NLL at low temperatures would overflow one."""


@dataclass
class ClassTotal:
    """Counts over images (see `statistics.Total`).

    Parameters
    ----------
    confusion : int64 (t, K, K), [label, prediction]
    sums : int64 (t, SUMS, 2), as high * 2**32 + low
    bins : int64 (t, BINS, 3), of `kernels.counting.classes`
    images : how many images have been added
    """

    confusion: np.ndarray
    sums: np.ndarray
    bins: np.ndarray
    images: int = 0

    def add(self, other: "ClassTotal") -> None:
        """Add those of other images."""
        self.confusion += other.confusion
        self.sums += other.sums
        self.bins += other.bins
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as they are."""
        return {"confusion": self.confusion, "sums": self.sums, "bins": self.bins, "images": np.array(self.images)}

    def sum(self, temperature: int, which: int) -> int:
        """Return a sum as one integer."""
        high, low = (int(part) for part in self.sums[temperature, which])
        return (high << _HALF) + low


@dataclass(frozen=True)
class ClassCounts:
    """Counts at each temperature (see `statistics.Statistic`); the labels of its pictures are classes.

    Parameters
    ----------
    channels, groups : int64 (P,), of `LabelSpace.channels`
    classes : how many classes there are
    temperatures : positive
    of_map : of mask networks, whether p is the softmax of S / T and not S / sum S of class logits / T
    """

    channels: np.ndarray
    groups: np.ndarray
    classes: int
    temperatures: tuple[float, ...]
    of_map: bool = False

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return 8 * len(self.temperatures) * self.classes**2 + (64 << 20)

    def zero(self) -> ClassTotal:
        """See `Statistic`."""
        t, K = len(self.temperatures), self.classes
        return ClassTotal(
            np.zeros((t, K, K), np.int64), np.zeros((t, SUMS, 2), np.int64), np.zeros((t, BINS, 3), np.int64)
        )

    def of_image(self, picture: Picture, total: ClassTotal, threads: int = 1) -> None:
        """Count one image; threads share its temperatures."""
        sums = np.zeros(total.sums.shape[:2], np.int64)

        def count(part: slice) -> None:
            # Slices are views: threads write to disjoint temperatures of the same arrays.
            count_classes(self, picture, part, total.confusion[part], sums[part], total.bins[part])

        # Runs of temperatures, not every n-th one: their arrays lie in one piece.
        step = -(-len(self.temperatures) // threads)
        parts = [slice(first, first + step) for first in range(0, len(self.temperatures), step)]
        in_parallel(count, parts, threads)
        # The sum of one image fits one int64; it is the sum over many images that might not.
        total.sums += np.stack([sums >> _HALF, sums & ((1 << _HALF) - 1)], axis=-1)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ClassTotal:
        """See `Statistic`."""
        zero, found = self.zero(), {name: arrays[name].astype(np.int64) for name in ("confusion", "sums", "bins")}
        for name, array in found.items():
            if array.shape != (expected := getattr(zero, name).shape):
                raise ValueError(f"{name} of {expected} was expected, {array.shape} was found")
        return ClassTotal(**found, images=int(arrays["images"]))

    def finish(self, total: ClassTotal) -> list[ClosedSetFigures]:
        """Return the figures at each temperature."""
        return [
            closed_set_figures(
                total.confusion[t], total.sum(t, NLL) * NLL_UNIT, total.sum(t, BRIER) * UNIT, total.bins[t]
            )
            for t in range(len(self.temperatures))
        ]


def count_classes(
    statistic: ClassCounts, picture: Picture, part: slice, confusion: np.ndarray, sums: np.ndarray, bins: np.ndarray
) -> None:
    """Add one image at some temperatures to arrays of these, as `kernels.counting.classes` has them."""
    channels, groups, temperatures = statistic.channels, statistic.groups, statistic.temperatures[part]
    every, labels, (height, width) = np.arange(channels.size), picture.labels, picture.labels.shape
    if isinstance(picture.logits, PixelLogits):
        for band in picture.logits.bands((height, width)):
            of_band = band.axes, labels[band.rows]
            count_logits(band.values, channels, groups, np.array(temperatures), *of_band, confusion, sums, bins)
        return
    for block in cast("MaskLogits", picture.logits).blocks((height, width)):
        # All temperatures from one S; below, each temperature has an S of its own.
        if statistic.of_map:
            # Softmax of S: S stands where the logits of a pixel network do.
            for band in class_bands(block, channels, 1.0):
                of_band = band.axes, labels[band.rows]
                count_logits(band.values, every, groups, np.array(temperatures), *of_band, confusion, sums, bins)
            continue
        for t, T in enumerate(temperatures):
            for band in class_bands(block, channels, T):
                of_band = band.axes, labels[band.rows]
                count_scores(band.values, every, groups, *of_band, confusion[t], sums[t], bins[t])
