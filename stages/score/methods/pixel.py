"""The methods for pixel networks. Beside each stands its formula in float64, plainly, which tests hold it to."""

import numpy as np

from logitpipe.stages.score.kernels.arithmetic import LN2, LOG2E
from logitpipe.stages.score.kernels.fused import pixel_ranks
from logitpipe.stages.score.kernels.fused.pixel_ranks import ENTROPY_OFFSET, SMALL
from logitpipe.stages.score.kernels.sums import exp2_all, log1p_all, log2_all, offset_all
from logitpipe.stages.score.methods import standardized
from logitpipe.stages.score.methods.accumulators import TINY, ClassSums
from logitpipe.stages.score.methods.method import Fused, Method, OfClasses, OfImage, Parameter
from logitpipe.stages.score.methods.plain import entropy, gen, gini, log_sum_exp, not_largest, renyi, softmax
from logitpipe.stages.score.methods.scales import (
    DIVERGENCE,
    ENTROPY,
    FREE_ENERGY,
    LOGIT,
    MINUS_MARGIN,
    MOST_MARGIN,
    PROBABILITY,
    PROBABILITY_LEFT,
    Scale,
    below,
    relative,
)

ONE = np.float32(1.0)

FLAT = np.float32(0.25)
"""Of (2p - 1)^2: below it p (1 - p) is computed from what it lacks to 1/4."""

LEAST_LACK = np.float32(2.0**-48)
"""Least ln K - H: beside ln K float64 holds no less."""


def offset(ranks: np.ndarray) -> np.ndarray:
    """Return ranks moved away from zero by ENTROPY_OFFSET, so that their bins are of even width there."""
    return offset_all(ranks, ENTROPY_OFFSET)


def log2_of(x: np.ndarray) -> np.ndarray:
    """Return log2 of what is not negative, float32; of 0 that of the least normal number."""
    return log2_all(np.maximum(x, TINY))


def finish_margin(c: ClassSums) -> np.ndarray:
    """Return the rank of p2 - p1: log2 of the odds of u = 1 + p2 - p1 = (r + g) / (1 + r), g = p2 / p1."""
    log_odds = log2_all(c.others() + ONE) - c.gap - log2_of(-np.expm1(-c.gap * LN2))
    return offset(np.minimum(log_odds, np.float32(MOST_MARGIN)))


def finish_gini(c: ClassSums) -> np.ndarray:
    """Return the rank of G = 1 - sum p^2: log2 of G over what it lacks to its greatest value, sum (p - 1/K)^2.

    G (1 + r)^2 = g (2 others + g (others^2 - squares)), where no square exceeds that of the sum.
    """
    squares = c.others(2)
    part = 2 * c.others() + c.shrink * (c.others() ** 2 - squares)
    return offset(log2_all(part) - c.gap - log2_of(c.unevenness))


def finish_renyi(c: ClassSums, alpha: float) -> np.ndarray:
    """Return the rank of R = log(sum p^alpha) / (1 - alpha): log2 of R / (ln K - R).

    R = (log1p(r_alpha) - alpha log1p(r)) / (1 - alpha), r_alpha the sum of the other p^alpha over the largest. Where
    both are small, the logarithms are their arguments, of which g^min(1, alpha) is taken out.
    """
    a, least = np.float32(alpha), np.float32(min(alpha, 1.0))
    rest = c.others(alpha) * exp2_all(-a * c.gap)
    R, ln_K, is_even = (log1p_all(rest) - a * c.log1p_rest) / (ONE - a), np.float32(np.log(c.K)), c.is_even
    small = c.others(alpha) * exp2_all(-(a - least) * c.gap) - a * c.others() * exp2_all(-(ONE - least) * c.gap)
    is_small = np.maximum(rest, c.rest) < SMALL
    left = np.maximum(ln_K - R, SMALL)
    if is_even.any():
        left[is_even] = np.maximum(c.alike.lack_of_renyi(alpha), LEAST_LACK)
        R = np.where(is_even, ln_K - left, R)
    log_odds = log2_of(np.where(is_small, small / (ONE - a), R)) - log2_of(left)
    return offset(log_odds - np.where(is_small, least * c.gap, np.float32(0)))


def finish_gen(c: ClassSums, gamma: float, top: float | None) -> np.ndarray:
    """Return the rank of sum over the largest p of p^gamma (1 - p)^gamma: log2 of what it is of `gen_pivot`.

    1 - p of the largest is r / (1 + r); of the others, at most 1/2, it does not cancel. Terms are taken over g^gamma,
    as those of a confident pixel may be too small for float32. Near its greatest value the score is flat, and only
    its logarithm over that value tells pixels apart: of one class near p = 1/2, where 4 p (1 - p) = 1 - (2p - 1)^2,
    and of all classes where they are alike.
    """
    count, power = c.K if top is None else min(int(top), c.K), np.float32(gamma)
    if count == 1:
        u2 = ((ONE - c.rest) / (ONE + c.rest)) ** 2
        flat = np.log1p(-np.minimum(u2, FLAT)) * LOG2E
        steep = log2_all(c.others()) - c.gap - np.float32(2) * c.log1p_rest * LOG2E + np.float32(2)
        return power * np.where(u2 < FLAT, flat, steep)
    log2_p = c.log2_largest(count)
    log2_left = log2_of(ONE - exp2_all(log2_p.reshape(-1)).reshape(log2_p.shape).clip(0, ONE).reshape(-1))
    log2_left = log2_left.reshape(log2_p.shape)
    # Of the largest alone 1 - p would cancel.
    log2_left[0] = log2_all(c.others()) - c.gap - c.log1p_rest * LOG2E
    terms = exp2_all(power * (log2_p + log2_left + c.gap).reshape(-1)).reshape(log2_p.shape)
    ranks = log2_all(terms.sum(axis=0)) - power * c.gap - np.float32(np.log2(gen_pivot(gamma, count)))
    if count == c.K and c.is_even.any():
        ranks[c.is_even] = c.alike.log_gen_ratio(gamma, count) / LN2
    return ranks


def gen_pivot(gamma: float, count: int) -> float:
    """Return what `gen` is where `count` classes share all of p; of one class, where it is greatest, at p = 1/2."""
    p = 1 / max(count, 2)
    return count * (p * (1 - p)) ** gamma


def gen_scale(gamma: float, top: float | None) -> Scale:
    """Return the scale of `gen` with its parameters."""
    return relative(lambda K: gen_pivot(gamma, K if top is None else min(int(top), K)))


PIXEL_METHODS: dict[str, Method] = {
    "msp": Method(
        "1 - max softmax(z/T)",
        "Hendrycks and Gimpel, ICLR 2017",
        ("T",),
        PROBABILITY_LEFT,
        Fused(pixel_ranks.MSP),
        lambda z, T: not_largest(softmax(z / T)),
        aliases=("MSP", "MSP-T", "max softmax"),
    ),
    "maxlogit": Method(
        "-max z",
        "Hendrycks et al., ICML 2022",
        (),
        LOGIT,
        Fused(pixel_ranks.MAXLOGIT),
        lambda z: -z.max(axis=0),
        aliases=("MaxLogit", "MaxL", "MLS"),
    ),
    "entropy": Method(
        "-sum p log p, p = softmax(z/T)",
        "Shannon; for this purpose Chan et al., ICCV 2021",
        ("T",),
        ENTROPY,
        Fused(pixel_ranks.ENTROPY),
        lambda z, T: entropy(softmax(z / T)),
        aliases=("MaxEntropy", "MaxE", "max entropy"),
    ),
    "energy": Method(
        "-T logsumexp(z/T)",
        "Liu et al., NeurIPS 2020",
        ("T",),
        FREE_ENERGY,
        Fused(pixel_ranks.ENERGY),
        lambda z, T: -T * log_sum_exp(z / T),
        aliases=("free energy",),
    ),
    "void": Method(
        "softmax(z/T) over all channels, the void channel",
        "Blum et al., IJCV 2021 (void classifier)",
        ("T",),
        PROBABILITY,
        Fused(pixel_ranks.VOID),
        lambda z, void, T: softmax(np.concatenate([void[None], z]) / T)[0],
        aliases=("void-odds", "void classifier"),
        needs="void",
    ),
    "margin": Method(
        "p2 - p1, the two largest of p = softmax(z/T)",
        "textbook (margin sampling: Scheffer et al., 2001)",
        ("T",),
        MINUS_MARGIN,
        OfClasses(finish_margin),
        lambda z, T: -np.diff(np.sort(softmax(z / T), axis=0)[-2:], axis=0)[0],
        aliases=("probability margin",),
    ),
    "gini": Method(
        "1 - sum p^2, p = softmax(z/T)",
        "textbook (Gini impurity)",
        ("T",),
        below(lambda K: 1 - 1 / K),
        OfClasses(finish_gini),
        lambda z, T: gini(softmax(z / T)),
        aliases=("Doctor alpha", "quadratic entropy"),
    ),
    "renyi": Method(
        "log(sum p^alpha) / (1 - alpha), p = softmax(z/T)",
        "textbook (Rényi, 1961)",
        ("T",),
        below(lambda K: float(np.log(K))),
        OfClasses(finish_renyi),
        lambda z, T, alpha=2.0: renyi(softmax(z / T), alpha),
        aliases=("Rényi entropy",),
        parameters={"alpha": Parameter(2.0, 0.01, 100.0, excluded=(1.0,))},
    ),
    "gen": Method(
        "sum over the `top` largest p of p^gamma (1-p)^gamma, p = softmax(z/T)",
        "Liu et al., CVPR 2023 (GEN)",
        ("T",),
        gen_scale(0.1, None),
        OfClasses(finish_gen),
        lambda z, T, gamma=0.1, top=None: gen(z / T, gamma, top),
        aliases=("generalized entropy",),
        parameters={"gamma": Parameter(0.1, 0.001, 10.0), "top": Parameter(None, 1, 1000, whole=True)},
        scaled=gen_scale,
    ),
    "sml": Method(
        "(mean_c - max z) / deviation_c, c = argmax z",
        "Jung et al., ICCV 2021 (standardized max logits)",
        (),
        LOGIT,
        OfClasses(standardized.finish_sml),
        standardized.sml,
        aliases=("standardized max logits",),
        needs="statistics",
    ),
    "sml+": Method(
        "sml, boundaries of classes suppressed, under a Gaussian of 7 x 7 taps",
        "Jung et al., ICCV 2021",
        (),
        LOGIT,
        OfImage(standardized.sml_plus),
        standardized.sml,
        aliases=("SML with boundary suppression",),
        needs="statistics",
    ),
    "kl": Method(
        "min over classes k that occur of KL(p, d_k), p = softmax(z/T)",
        "Hendrycks et al., ICML 2022 (KL matching)",
        ("T",),
        DIVERGENCE,
        OfClasses(standardized.finish_kl),
        standardized.kl,
        aliases=("KL matching",),
        needs="statistics",
    ),
}
