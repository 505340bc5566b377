"""What a walk over a store computes: sums over images, so that order, tiling, workers and machines change nothing.

A *statistic* says what one image adds; its *total* is the sum. Totals of disjoint images add up to that of all of
them, and a total has a small form of plain arrays, in which it travels to a file or to another machine. What is made
of a total in the end (areas, rates, tables) is `finish`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from logitpipe.stages.score.picture import Picture


class Total(Protocol):
    """A sum over images."""

    @property
    def images(self) -> int:
        """How many images have been added."""

    def add(self, other: Self) -> None:
        """Add the total of other images."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the total as a few small arrays; `Statistic.from_arrays` reads them back."""


@dataclass
class ArrayTotal:
    """Total of a statistic that counts into one array (see `Total`).

    Parameters
    ----------
    counts : int64, of any shape
    images : how many images have been added
    """

    counts: np.ndarray
    images: int = 0

    def add(self, other: Self) -> None:
        """Add those of other images."""
        self.counts += other.counts
        self.images += other.images

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return both as they are."""
        return {"counts": self.counts, "images": np.array(self.images)}

    def like(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return what `to_arrays` wrote down; ValueError where it has another shape than this total."""
        if arrays["counts"].shape != self.counts.shape:
            raise ValueError(f"counts of {self.counts.shape} were expected, {arrays['counts'].shape} were found")
        return type(self)(arrays["counts"].astype(np.int64), int(arrays["images"]))


Sum = TypeVar("Sum", bound=Total)


class Statistic(Protocol[Sum]):
    """What one image adds to a total, and what the total comes to."""

    @property
    def expected_bytes(self) -> int:
        """About how much memory one total takes up in the end: it decides how many there may be at a time."""

    def zero(self) -> Sum:
        """Return the total of no image."""

    def of_image(self, picture: Picture, total: Sum, threads: int = 1) -> None:
        """Add one image to a total, by up to so many threads; nobody else touches the total meanwhile."""

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Sum:
        """Return the total that `Total.to_arrays` wrote down.

        Raises
        ------
        ValueError
            It is not one of this statistic.
        """

    def finish(self, total: Sum) -> Any:  # noqa: ANN401 - whatever the statistic is for
        """Return what the statistic is computed for."""
