"""Classes where pixels above a threshold are called unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.figures.open_set import RULES, OpenSetFigures, open_set_figures
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan, split
from logitpipe.stages.score.prediction import predicted_classes
from logitpipe.stages.streams import in_parallel


@dataclass
class OpenTotal:
    """Confusion of classes and the unknown (see `statistics.Total`).

    Parameters
    ----------
    opened : int64 (pairs, RULES, K + 1, K + 1), [label, prediction]
    closed : int64 (pairs, K, K)
    images : how many images have been added
    """

    opened: np.ndarray
    closed: np.ndarray
    images: int = 0

    def add(self, other: "OpenTotal") -> None:
        """Add those of other images."""
        self.opened += other.opened
        self.closed += other.closed
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as they are."""
        return {"opened": self.opened, "closed": self.closed, "images": np.array(self.images)}


@dataclass(frozen=True)
class OpenSet:
    """Confusion at each threshold of each pair (see `statistics.Statistic`).

    The labels of its pictures are classes, and `classes` itself for what is unknown.

    Parameters
    ----------
    plan : its pairs
    limits : float32 (pairs, RULES), ranks above which a pixel is called unknown
    channels, groups : of `LabelSpace.channels`
    classes : how many known classes there are
    """

    plan: Plan
    limits: np.ndarray
    channels: np.ndarray
    groups: np.ndarray
    classes: int

    @property
    def expected_bytes(self) -> int:
        """See `Statistic`."""
        return 8 * len(self.plan.pairs) * (len(RULES) + 1) * (self.classes + 1) ** 2 + (64 << 20)

    def zero(self) -> OpenTotal:
        """See `Statistic`."""
        pairs, K = len(self.plan.pairs), self.classes
        return OpenTotal(np.zeros((pairs, len(RULES), K + 1, K + 1), np.int64), np.zeros((pairs, K, K), np.int64))

    def of_image(self, picture: Picture, total: OpenTotal, threads: int = 1) -> None:
        """Count all pairs; threads share an image by its temperatures."""
        # NO_CLASS is 255, above every class and above the label of what is unknown.
        K, is_labelled = self.classes, picture.labels <= self.classes
        labels = picture.labels[is_labelled].astype(np.int64)
        is_known = labels < K

        def count(pairs: Sequence[int]) -> None:
            """Add the confusion of some pairs, with and without the unknown."""
            predicted: dict[float, np.ndarray] = {}
            for i, ranks in picture.score_maps(self.plan, pairs):
                T = self.plan.pairs[i].temperature or 1.0
                # The classes depend on the temperature alone: all methods at one temperature share them.
                if T not in predicted:
                    predicted[T] = predicted_classes(picture, self.channels, self.groups, T)[is_labelled]
                total.closed[i] += _confusion(labels[is_known], predicted[T][is_known], K)
                scores = ranks[is_labelled]
                for limit, confusion in zip(self.limits[i], total.opened[i], strict=True):
                    confusion += _confusion(labels, np.where(scores > limit, K, predicted[T]), K + 1)

        # Threads take different pairs, and so different rows of the total.
        in_parallel(count, split(self.plan, threads), threads)
        total.images += 1

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> OpenTotal:
        """See `Statistic`."""
        zero, found = self.zero(), {name: arrays[name].astype(np.int64) for name in ("opened", "closed")}
        for name, array in found.items():
            if array.shape != (expected := getattr(zero, name).shape):
                raise ValueError(f"{name} of {expected} was expected, {array.shape} was found")
        return OpenTotal(**found, images=int(arrays["images"]))

    def finish(self, total: OpenTotal) -> list[list[OpenSetFigures]]:
        """Return figures for each pair and rule."""
        return [
            [open_set_figures(confusion, closed) for confusion in of_pair]
            for of_pair, closed in zip(total.opened, total.closed, strict=True)
        ]


def _confusion(labels: np.ndarray, predicted: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(labels * size + predicted, minlength=size**2).reshape(size, size)
