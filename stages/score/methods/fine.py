"""Methods of pixel networks whose logits differ by very little, such as those of a network whose last layer is tiny.

All classes are then almost equally probable. Scores differ in digits that float32 loses beside 1, log K or the offset
of a logit, so the finishers here compute what a score lacks to that of equal classes, in float64. Formulas and the
ways in which scores are counted are those of `pixel.py`, with bins that reach smaller numbers.
"""

from dataclasses import replace

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET
from logitpipe.stages.score.kernels.sums import offset_all
from logitpipe.stages.score.methods.accumulators import ClassSums
from logitpipe.stages.score.methods.method import Method, OfClasses
from logitpipe.stages.score.methods.pixel import PIXEL_METHODS
from logitpipe.stages.score.methods.scales import PROBABILITY, PROBABILITY_LEFT, WIDE_BINS, Scale, shifted

LEAST = float(np.finfo(np.float64).tiny)
"""What a logarithm is taken of instead of 0, where all classes are equal."""

LN2 = float(np.log(2))
LEFT_BINS = Bins(14, negative=(-60, 24), positive=(-60, -59))
ODDS_BINS = Bins(13, negative=(-60, 24), positive=(-60, 24))
LOGIT_BINS = Bins(13, negative=(-60, 17), positive=(-60, 17))

FREE_ENERGY = Scale(
    rank=lambda s, T, K: np.asarray(s, np.float64) + T * np.log(K),
    formula=lambda rank, T, K: np.asarray(rank, np.float64) - T * np.log(K),
    bins=LOGIT_BINS,
)
"""-T logsumexp(z/T), counted as -T log mean exp(z/T)."""


def log_mean(c: ClassSums) -> np.ndarray:
    """Return log of the mean over the classes of exp((z_k - m1) / T), at most 0: float64 (n,)."""
    return np.log1p(np.expm1(c.distances).mean(axis=0))


def others(c: ClassSums) -> tuple[np.ndarray, np.ndarray]:
    """Return (m2 - m1) / T and the sum over k != argmax of exp((z_k - m2) / T): float64 (n,)."""
    second = np.partition(c.distances, -2, axis=0)[-2]
    # The largest logit adds exactly 1.
    return second, np.exp(np.minimum(c.distances - second, 0)).sum(axis=0) - 1


def log_odds(part: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return log2 of part / left, away from zero, as scores that have a limit are counted: float32 (n,)."""
    odds = np.log2(np.maximum(part, LEAST)) - np.log2(np.maximum(left, LEAST))
    return offset_all(odds.astype(np.float32), ENTROPY_OFFSET)


def finish_msp(c: ClassSums) -> np.ndarray:
    """Return the rank of 1 - max p: log2 of the mean over k != argmax of exp((z_k - m1) / T)."""
    # Near 1 the mean is known by what it lacks, near 0 by its logarithm.
    lacks, (second, sum_others) = np.expm1(c.distances).sum(axis=0) / (c.K - 1), others(c)
    by_logarithm = second + np.log(sum_others / (c.K - 1))
    return (np.where(lacks < -0.5, by_logarithm, np.log1p(np.maximum(lacks, -0.5))) / LN2).astype(np.float32)


def finish_maxlogit(c: ClassSums) -> np.ndarray:
    """Return the rank of -m1: itself."""
    return -c.top


def finish_entropy(c: ClassSums) -> np.ndarray:
    """Return the rank of the entropy H: log2 of H / (ln K - H).

    With x_k = ln(K p_k), of which exp has the mean 1, ln K - H is the mean of x exp x - expm1 x: no term is negative.
    """
    x, (second, sum_others) = c.distances - log_mean(c), others(c)
    rest = sum_others * np.exp(second)
    H = np.log1p(rest) - (c.distances * np.exp(c.distances)).sum(axis=0) / (1 + rest)
    return log_odds(H, (x * np.exp(x) - np.expm1(x)).mean(axis=0))


def finish_renyi(c: ClassSums, alpha: float) -> np.ndarray:
    """Return the rank of R = log(sum p^alpha) / (1 - alpha): log2 of R / (ln K - R).

    ln K - R = log(1 + y) / (alpha - 1), y the mean of expm1(alpha x) - alpha expm1(x), x of `finish_entropy`.
    """
    x = c.distances - log_mean(c)
    left = np.log1p((np.expm1(alpha * x) - alpha * np.expm1(x)).mean(axis=0)) / (alpha - 1)
    return log_odds(np.log(c.K) - left, left)


def finish_gini(c: ClassSums) -> np.ndarray:
    """Return the rank of G = 1 - sum p^2: log2 of G over what it lacks to its greatest value, sum (p - 1/K)^2."""
    x = c.distances - log_mean(c)
    p = np.exp(x) / c.K
    return log_odds((p * (1 - p)).sum(axis=0), (np.expm1(x) ** 2).sum(axis=0) / c.K**2)


def finish_energy(c: ClassSums) -> np.ndarray:
    """Return the rank of -T logsumexp(z / T): -m1 - T log mean exp((z - m1) / T)."""
    return (-c.top - float(c.T) * log_mean(c)).astype(np.float32)


def finish_void(c: ClassSums) -> np.ndarray:
    """Return the rank of the void channel's probability: log2 of its odds over those of equal channels."""
    assert c.pixels.void is not None
    relative = (c.pixels.void.astype(np.float64) - c.top) / float(c.T)
    return ((relative - log_mean(c)) / LN2).astype(np.float32)


def _fine(name: str, computed: OfClasses, scale: Scale | None = None) -> Method:
    method = PIXEL_METHODS[name]
    return replace(method, computed=computed, scale=scale or replace(method.scale, bins=WIDE_BINS))


FINE_METHODS: dict[str, Method] = {
    "msp": _fine("msp", OfClasses(finish_msp), replace(PROBABILITY_LEFT, bins=LEFT_BINS)),
    "maxlogit": _fine("maxlogit", OfClasses(finish_maxlogit), shifted(lambda _K: 0, LOGIT_BINS)),
    "entropy": _fine("entropy", OfClasses(finish_entropy)),
    "energy": _fine("energy", OfClasses(finish_energy), FREE_ENERGY),
    "void": _fine("void", OfClasses(finish_void), replace(PROBABILITY, bins=ODDS_BINS)),
    "gini": _fine("gini", OfClasses(finish_gini)),
    "renyi": _fine("renyi", OfClasses(finish_renyi)),
}
"""In the place of those of `pixel.py`. margin, sml and sml+ tell small differences apart as they are."""

TOO_COARSE = ("gen", "kl")
"""Methods whose scores of almost equal classes float32 cannot tell apart, and of which there is no fine one."""
