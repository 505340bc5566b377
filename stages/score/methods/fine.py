"""Methods of pixel networks whose logits differ by very little, such as those of a network whose last layer is tiny.

All classes are then almost equally probable. Scores differ in digits that float32 loses beside 1, log K or the offset
of a logit, so the finishers here compute what a score lacks to that of equal classes, in float64. Formulas and the
ways in which scores are counted are those of `pixel.py`, with bins that reach smaller numbers.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET
from logitpipe.stages.score.kernels.sums import offset_all
from logitpipe.stages.score.methods import pixel
from logitpipe.stages.score.methods.accumulators import ClassSums
from logitpipe.stages.score.methods.method import InDistribution, Method, OfClasses
from logitpipe.stages.score.methods.pixel import PIXEL_METHODS, gen_pivot
from logitpipe.stages.score.methods.scales import PROBABILITY, PROBABILITY_LEFT, WIDE_BINS, Scale, relative, shifted

LEAST = float(np.finfo(np.float64).tiny)
"""What a logarithm is taken of instead of 0, where all classes are equal."""

LN2 = float(np.log(2))
LEFT_BINS = Bins(14, negative=(-60, 24), positive=(-60, -59))
ODDS_BINS = Bins(13, negative=(-60, 24), positive=(-60, 24))
LOGIT_BINS = Bins(13, negative=(-60, 17), positive=(-60, 17))

KL_BINS = Bins(13, negative=(-100, -99), positive=(-100, 10))

FREE_ENERGY = Scale(
    rank=lambda s, T, K: np.asarray(s, np.float64) + T * np.log(K),
    formula=lambda rank, T, K: np.asarray(rank, np.float64) - T * np.log(K),
    bins=LOGIT_BINS,
)
"""-T logsumexp(z/T), counted as -T log mean exp(z/T)."""


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
    x, (second, sum_others) = c.log_shares, others(c)
    rest = sum_others * np.exp(second)
    H = np.log1p(rest) - (c.distances * np.exp(c.distances)).sum(axis=0) / (1 + rest)
    return log_odds(H, (x * np.exp(x) - np.expm1(x)).mean(axis=0))


def finish_renyi(c: ClassSums, alpha: float) -> np.ndarray:
    """Return the rank of R = log(sum p^alpha) / (1 - alpha): log2 of R / (ln K - R)."""
    left = c.lack_of_renyi(alpha)
    return log_odds(np.log(c.K) - left, left)


def finish_gen(c: ClassSums, gamma: float, top: float | None) -> np.ndarray:
    """Return the rank of sum over the largest p of p^gamma (1 - p)^gamma: log2 of it over that of equal classes."""
    count = c.K if top is None else min(int(top), c.K)
    even = (c.log_gen_ratio(gamma, count) / LN2).astype(np.float32)
    if c.is_even.all():
        return even
    other_pivot = np.float32(np.log2(gen_pivot(gamma, count) / _even_gen(gamma, count, c.K)))
    return np.where(c.is_even, even, pixel.finish_gen(c, gamma, top) + other_pivot)


def _even_gen(gamma: float, count: int, K: int) -> float:
    return count * (1 / K * (1 - 1 / K)) ** gamma


def even_gen_scale(gamma: float, top: float | None) -> Scale:
    """Return the scale of `gen` with its parameters."""
    return relative(lambda K: _even_gen(gamma, K if top is None else min(int(top), K), K), LOGIT_BINS)


def finish_kl(c: ClassSums, statistics: InDistribution) -> np.ndarray:
    """Return min over the classes k that occur of KL(p || d_k), the sum of p t - p + d_k, t = ln(p / d_k).

    No term is negative. Where p and d_k are nearly equal, it is d_k (t e^t - expm1(t)), which does not cancel.
    """
    p, least = np.exp(c.log_shares) / c.K, np.full(c.log_shares.shape[1], np.inf)
    for d in np.maximum(statistics.posteriors(float(c.T)), LEAST)[:, :, None]:
        t = c.log_shares - np.log(c.K * d)
        near = np.clip(t, -1, 1)
        terms = np.where(np.abs(t) < 1, d * (near * np.exp(near) - np.expm1(near)), p * t - p + d)
        least = np.minimum(least, terms.sum(axis=0))
    return np.maximum(least, 0).astype(np.float32)


def finish_gini(c: ClassSums) -> np.ndarray:
    """Return the rank of G = 1 - sum p^2: log2 of G over what it lacks to its greatest value, sum (p - 1/K)^2."""
    x = c.log_shares
    p = np.exp(x) / c.K
    return log_odds((p * (1 - p)).sum(axis=0), (np.expm1(x) ** 2).sum(axis=0) / c.K**2)


def finish_energy(c: ClassSums) -> np.ndarray:
    """Return the rank of -T logsumexp(z / T): -m1 - T log mean exp((z - m1) / T)."""
    return (-c.top - float(c.T) * c.log_mean).astype(np.float32)


def finish_void(c: ClassSums) -> np.ndarray:
    """Return the rank of the void channel's probability: log2 of its odds over those of equal channels."""
    assert c.pixels.void is not None
    relative_void = (c.pixels.void.astype(np.float64) - c.top) / float(c.T)
    return ((relative_void - c.log_mean) / LN2).astype(np.float32)


def _fine(
    name: str, computed: OfClasses, scale: Scale | None = None, scaled: Callable[..., Scale] | None = None
) -> Method:
    method = PIXEL_METHODS[name]
    return replace(method, computed=computed, scale=scale or replace(method.scale, bins=WIDE_BINS), scaled=scaled)


FINE_METHODS: dict[str, Method] = {
    "msp": _fine("msp", OfClasses(finish_msp), replace(PROBABILITY_LEFT, bins=LEFT_BINS)),
    "maxlogit": _fine("maxlogit", OfClasses(finish_maxlogit), shifted(lambda _K: 0, LOGIT_BINS)),
    "entropy": _fine("entropy", OfClasses(finish_entropy)),
    "energy": _fine("energy", OfClasses(finish_energy), FREE_ENERGY),
    "void": _fine("void", OfClasses(finish_void), replace(PROBABILITY, bins=ODDS_BINS)),
    "gini": _fine("gini", OfClasses(finish_gini)),
    "renyi": _fine("renyi", OfClasses(finish_renyi)),
    "gen": _fine("gen", OfClasses(finish_gen), even_gen_scale(0.1, None), even_gen_scale),
    "kl": _fine("kl", OfClasses(finish_kl), shifted(lambda _K: 0, KL_BINS)),
}
"""In the place of those of `pixel.py`. margin, sml and sml+ tell small differences apart as they are."""
