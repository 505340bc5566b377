"""Sums of float64 without rounding: in whatever order and parts they are added, the result is the same to the bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


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
