"""Accumulators: sums over the classes of some pixels of a pixel network, and shares of a mask network's queries.

A method (pixel.py, mask.py) is a finisher: a few elementwise steps from such sums to a rank. A sum is computed once
for all methods that ask for it; what none asks for is neither computed nor compiled. The loops are in
`kernels/sums.py`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from logitpipe.stages.score.kernels import sums as kernels
from logitpipe.stages.score.kernels.arithmetic import LOG2E

ONE = np.float32(1.0)

EVEN = 8

LEAST_LEFT = -np.nextafter(1, 0)
"""What 1 - p lacks to that of equal classes, at most, so that it has a logarithm."""

TINY = np.float32(2.0**-126)
"""The least normal float32: what a logarithm is taken of instead of 0."""


class Pixels:
    """Some pixels at the evaluation size, and what all temperatures share.

    Parameters
    ----------
    z : float32 (K, n), class logits
    void : float32 (n,), logits of the void channel, for methods that ask for it
    """

    def __init__(self, z: np.ndarray, void: np.ndarray | None = None) -> None:
        self.z, self.void = z, void

    @cached_property
    def two_largest(self) -> tuple[np.ndarray, np.ndarray]:
        """The largest and the second largest of the classes: float32 (n,)."""
        return kernels.two_largest(self.z)

    @cached_property
    def winner(self) -> np.ndarray:
        """Index of the largest class, the first of equals: int64 (n,)."""
        return self.z.argmax(axis=0)

    @cached_property
    def descending(self) -> np.ndarray:
        """The classes of each pixel by falling logit: float32 (K, n)."""
        return kernels.sorted_descending(self.z)


class ClassSums:
    """Sums over the classes of a block of pixels, at one temperature.

    With m1 >= m2 the two largest of z, exponentials are taken relative to m2, which keeps r = sum over k != argmax of
    exp((z_k - m1) / T) exact where 1 - max softmax has long rounded to zero. Arrays are float32 (n,).

    Parameters
    ----------
    pixels : which
    T : what z is divided by
    """

    def __init__(self, pixels: Pixels, T: float) -> None:
        self.pixels, self.T, self.K = pixels, np.float32(T), len(pixels.z)
        self._powers: dict[float, np.ndarray] = {}

    @property
    def top(self) -> np.ndarray:
        """The largest of the classes, m1."""
        return self.pixels.two_largest[0]

    @property
    def _second(self) -> np.ndarray:
        return self.pixels.two_largest[1]

    @cached_property
    def _bits(self) -> np.float32:
        """What z is multiplied by, so that exp(z / T) is a power of 2."""
        return LOG2E / self.T

    @cached_property
    def gap(self) -> np.ndarray:
        """(m1 - m2) / T log2 e."""
        return (self.top - self._second) * self._bits

    def others(self, power: float = 1) -> np.ndarray:
        """Sum over k != argmax of exp((z_k - m2) / T) to a power: from 1 to K - 1."""
        if power not in self._powers:
            factor = np.float32(power) * self._bits
            self._powers[power] = kernels.sum_exponentials(self.pixels.z, self._second, factor)
        return self._powers[power]

    @cached_property
    def shrink(self) -> np.ndarray:
        """exp((m2 - m1) / T): the second largest probability over the largest."""
        return kernels.exp2_all(-self.gap)

    @cached_property
    def rest(self) -> np.ndarray:
        """r, the sum of all other probabilities over the largest."""
        return self.others() * self.shrink

    @cached_property
    def is_even(self) -> np.ndarray:
        """Where classes are nearly equal: the largest has less than about EVEN times its even share."""
        return self.rest > np.float32((self.K - 1) / EVEN)

    @cached_property
    def log1p_rest(self) -> np.ndarray:
        """ln(1 + r) = logsumexp(z / T) - m1 / T."""
        return kernels.log1p_all(self.rest)

    @cached_property
    def distances(self) -> np.ndarray:
        """(z_k - m1) / T, for methods that need more digits than float32 has: float64 (K, n)."""
        return (self.pixels.z.astype(np.float64) - self.top) / float(self.T)

    @cached_property
    def alike(self) -> "ClassSums":
        """The same sums of the pixels that are even alone: what float64 computes for them is slow."""
        return ClassSums(Pixels(self.pixels.z[:, self.is_even]), float(self.T))

    @cached_property
    def log_mean(self) -> np.ndarray:
        """Log of the mean over the classes of exp((z_k - m1) / T), at most 0: float64 (n,)."""
        return np.log1p(np.expm1(self.distances).mean(axis=0))

    @cached_property
    def log_shares(self) -> np.ndarray:
        """ln(K p_k), of which exp has the mean 1, to the last digit where classes are alike: float64 (K, n)."""
        return self.distances - self.log_mean

    def lack_of_renyi(self, alpha: float) -> np.ndarray:
        """What the Renyi entropy lacks to ln K, from log_shares x: log(1 + y) / (alpha - 1), float64 (n,).

        y is the mean of expm1(alpha x) - alpha expm1(x), in which nothing cancels where classes are alike.
        """
        x = self.log_shares
        return np.log1p((np.expm1(alpha * x) - alpha * np.expm1(x)).mean(axis=0)) / (alpha - 1)

    def log_gen_ratio(self, gamma: float, count: int) -> np.ndarray:
        """Log of the mean of p^gamma (1 - p)^gamma over the largest classes, over that of equal ones: float64 (n,).

        For nearly equal classes, where nothing cancels.
        """
        x = np.sort(self.log_shares, axis=0)[::-1][:count]
        left = np.log1p(np.maximum(-np.expm1(x) / (self.K - 1), LEAST_LEFT))
        return np.log1p(np.expm1(gamma * (x + left)).mean(axis=0))

    @cached_property
    def unevenness(self) -> np.ndarray:
        """Sum over k of (p_k - 1 / K)^2 over p_1^2; it does not cancel, however alike the classes are."""
        return kernels.sum_unevenness(self.pixels.z, self.top, self._bits)

    @cached_property
    def posteriors(self) -> np.ndarray:
        """softmax(z / T): float32 (K, n)."""
        return kernels.posteriors(self.pixels.z, self.top, self._bits)

    def log2_largest(self, count: int) -> np.ndarray:
        """log2 of the `count` largest probabilities, the largest first: float32 (count, n)."""
        relative = (self.pixels.descending[:count] - self.top) * self._bits
        return relative - self.log1p_rest * LOG2E


def not_best(P: np.ndarray) -> np.ndarray:
    """Return 1 - max_k P_qk over the known classes, from (Q, K + 1) with the rest last: float64 (Q,)."""
    classes = P[:, :-1]
    # Summed from what is left, so that confident queries do not cancel to zero.
    others = np.arange(classes.shape[1]) != classes.argmax(axis=1)[:, None]
    return P[:, -1] + classes.sum(axis=1, where=others)


@dataclass(frozen=True)
class Shares:
    """How the queries of a window are distributed over the classes, at one temperature.

    Parameters
    ----------
    P : float64 (Q, K + 1), softmax of the class logits: the known classes and, last, the rest
    outlier : float64 (Q,), the share of a trained outlier class; None where there is none
    """

    P: np.ndarray
    outlier: np.ndarray | None

    @property
    def none(self) -> np.ndarray:
        """P_q0, the share of no known class: float64 (Q,)."""
        return self.P[:, -1]

    @property
    def best(self) -> np.ndarray:
        """max_k P_qk over the known classes: float64 (Q,)."""
        return self.P[:, :-1].max(axis=1)

    @property
    def not_best(self) -> np.ndarray:
        """1 - max_k P_qk: float64 (Q,)."""
        return not_best(self.P)
