"""The methods for mask networks. Beside each stands its formula in float64, plainly, which tests hold it to."""

from typing import TYPE_CHECKING

import numpy as np

from logitpipe.stages.score.kernels import segments
from logitpipe.stages.score.kernels.fused import mask_more, mask_ranks
from logitpipe.stages.score.methods.accumulators import Shares
from logitpipe.stages.score.methods.method import Fused, FusedMore, Method, OfImage, OfQueries, Parameter
from logitpipe.stages.score.methods.plain import (
    entropy,
    log_sum_exp,
    mix,
    most,
    not_best,
    not_largest,
    ratio,
    shares,
    softmax,
)
from logitpipe.stages.score.methods.scales import (
    ENTROPY,
    EVEN_PROBABILITY,
    LOGIT,
    PROBABILITY_LEFT,
    SHIFTED_BINS,
    SOFT_ENERGY,
    shifted,
)
from logitpipe.stages.score.methods.smoothing import half_of_segments

if TYPE_CHECKING:
    from logitpipe.stages.score.kinds.whole import WholeImage

ALL = ("T", "T_m")
ONE = np.float32(1.0)
COURSE = "pixel-versus-mask course projects"

FROM_ZERO = shifted(lambda _K: 0, SHIFTED_BINS)


def trusted(shares: Shares, above: float) -> np.ndarray:
    """Return max_k P_qk of the queries that stand for a class with more than that, 0 for the others: (Q,)."""
    return np.where(shares.best > np.maximum(shares.none, above), shares.best, 0)


def left(found: np.ndarray, _claimed: np.ndarray) -> np.ndarray:
    """Return what is left of 1."""
    return ONE - found


def uno(P: np.ndarray, M: np.ndarray, outlier: np.ndarray | None = None) -> np.ndarray:
    """Return -sum_q M_q (max_k P_qk - P_q0); where an outlier class was trained its share, (Q,), replaces P_q0."""
    return -mix(P[:, :-1].max(axis=1) - (P[:, -1] if outlier is None else outlier), M)


def rejection(P: np.ndarray, M: np.ndarray, above: float) -> np.ndarray:
    """Return min_q (1 - M_q max_k P_qk) over queries of a class with a share above that; 1 where there is none."""
    best = P[:, :-1].max(axis=1)
    # Strictly: a query that is undecided between a class and none speaks for no class.
    chosen = (best > above) & (best > P[:, -1])
    return 1 - most(best[chosen], M[chosen])


def query_smoothed(image: "WholeImage") -> np.ndarray:
    """Return the ranks of half msp and half its mean within each segment: float32 (H, W)."""
    ranks, claiming, K = image.ranks("msp"), image.largest(), image.plan.classes("msp")
    count, log2_others = int(claiming.max()) + 1, np.float32(np.log2(K - 1))
    found = segments.half_of_segments(ranks.reshape(-1), claiming.reshape(-1), count, log2_others)
    return found.reshape(ranks.shape)


MASK_METHODS: dict[str, Method] = {
    "msp": Method(
        "1 - max_k S_k / sum_k S_k",
        "Hendrycks and Gimpel, ICLR 2017, of the normalised class map",
        ALL,
        PROBABILITY_LEFT,
        Fused(mask_ranks.MSP),
        lambda S: not_largest(shares(S)),
        aliases=("MSP", "MSP-T", "neg-log-max"),
    ),
    "entropy": Method(
        "entropy of S / sum_k S_k",
        "Shannon, of the normalised class map",
        ALL,
        ENTROPY,
        Fused(mask_ranks.ENTROPY),
        lambda S: entropy(shares(S)),
        aliases=("MaxEntropy", "MaxE"),
    ),
    "maxlogit": Method(
        "-max_k sum_q z_qk M_q",
        "Hendrycks et al., ICML 2022, of class logits mixed by masks",
        ("T_m",),
        LOGIT,
        Fused(mask_ranks.MAXLOGIT),
        lambda Z: -Z.max(axis=0),
        aliases=("MaxLogit", "MaxL"),
    ),
    "rba": Method(
        "-sum_k tanh(S_k)",
        "RbA: Nayal et al., ICCV 2023",
        ALL,
        # Pivots are the score of S = (1, 0, ..., 0): there the scores of confident pixels gather.
        shifted(lambda _K: -np.tanh(1), SHIFTED_BINS),
        Fused(mask_ranks.RBA),
        lambda S: -np.tanh(S).sum(axis=0),
        aliases=("RbA",),
    ),
    "rba-normalized": Method(
        "sum_q (1 - max_k P_qk) M_q / sum_q M_q",
        f"{COURSE}, there called RbA",
        ALL,
        FROM_ZERO,
        Fused(mask_ranks.RBA_NORMALIZED),
        lambda P, M: ratio(mix(not_best(P), M), M.sum(axis=0), 1),
    ),
    "mask2anomaly": Method(
        "1 - max_k S_k",
        "Rai et al., ICCV 2023",
        ALL,
        FROM_ZERO,
        Fused(mask_ranks.MASK2ANOMALY),
        lambda S: 1 - S.max(axis=0),
        aliases=("neg-max",),
    ),
    "neg-sum": Method(
        "-sum_k S_k",
        COURSE,
        ALL,
        shifted(lambda _K: -1, SHIFTED_BINS),
        Fused(mask_ranks.NEG_SUM),
        lambda S: -S.sum(axis=0),
    ),
    "mask-energy": Method(
        "-logsumexp_k S_k",
        "Liu et al., NeurIPS 2020, of the class map",
        ALL,
        shifted(lambda K: -np.log(np.exp(1) + K - 1), SHIFTED_BINS),
        Fused(mask_ranks.MASK_ENERGY),
        lambda S: -log_sum_exp(S),
    ),
    "eam": Method(
        "1 - sum_q M_q max_k P_qk",
        "EAM: Grcic et al., CVPRW 2023",
        ALL,
        FROM_ZERO,
        Fused(mask_ranks.EAM),
        lambda P, M: 1 - mix(P[:, :-1].max(axis=1), M),
    ),
    "void": Method(
        "sum_q P_q0 M_q",
        COURSE,
        ALL,
        FROM_ZERO,
        Fused(mask_ranks.VOID),
        lambda P, M: mix(P[:, -1], M),
        aliases=("no-object-sum",),
    ),
    "softmax-msp": Method(
        "1 - max softmax(S/T_S)",
        f"{COURSE}, there called MSP; S itself is taken as logits",
        (*ALL, "T_S"),
        PROBABILITY_LEFT,
        FusedMore(mask_more.SOFT_MSP),
        lambda S, T_S: not_largest(softmax(S / T_S)),
    ),
    "softmax-entropy": Method(
        "-sum p log p, p = softmax(S/T_S)",
        f"{COURSE}, there called MaxEntropy",
        (*ALL, "T_S"),
        ENTROPY,
        FusedMore(mask_more.SOFT_ENTROPY),
        lambda S, T_S: entropy(softmax(S / T_S)),
    ),
    "softmax-energy": Method(
        "-T_S logsumexp_k(S_k/T_S); at T_S = 1 mask-energy",
        COURSE,
        (*ALL, "T_S"),
        SOFT_ENERGY,
        FusedMore(mask_more.SOFT_ENERGY),
        lambda S, T_S: -T_S * log_sum_exp(S / T_S),
    ),
    "raw-msp": Method(
        "1 - max softmax over k of sum_q z_qk M_q",
        COURSE,
        ("T_m",),
        PROBABILITY_LEFT,
        FusedMore(mask_more.SOFT_MSP),
        lambda Z: not_largest(softmax(Z)),
    ),
    "rba-product": Method(
        "prod_k (1 - S_k), S clipped to [0, 1]",
        "OutlierDrive, there called RbA",
        ALL,
        EVEN_PROBABILITY,
        FusedMore(mask_more.PRODUCT),
        lambda S: (1 - S.clip(0, 1)).prod(axis=0),
    ),
    "rba-tanh-log": Method(
        "-sum_k tanh(log S_k)",
        COURSE,
        ALL,
        shifted(lambda K: K - 1, SHIFTED_BINS),
        FusedMore(mask_more.TANH_LOG),
        lambda S: ((1 - S**2) / (1 + S**2)).sum(axis=0),
    ),
    "rba-plus1": Method(
        "sum_q (1 - max_k P_qk) M_q / (1 + sum_q M_q)",
        "the IoU script of the pixel-versus-mask comparison, there called RbA",
        ALL,
        FROM_ZERO,
        OfQueries(lambda s: s.not_best, "sum", lambda found, claimed: found / (ONE + claimed)),
        lambda P, M: mix(not_best(P), M) / (1 + M.sum(axis=0)),
    ),
    "rba-hard": Method(
        "1 - max_q M_q max_k P_qk",
        COURSE,
        ALL,
        FROM_ZERO,
        OfQueries(lambda s: s.best, "max", left),
        lambda P, M: 1 - most(P[:, :-1].max(axis=1), M),
    ),
    "no-object-max": Method(
        "max_q P_q0 M_q",
        COURSE,
        ALL,
        FROM_ZERO,
        OfQueries(lambda s: s.none, "max", lambda found, _claimed: found),
        lambda P, M: most(P[:, -1], M),
    ),
    "rejection": Method(
        "min_q (1 - M_q max_k P_qk), over queries whose largest share is a class's and above `above`; 1 without any",
        "Maskomaly: Ackermann et al., BMVC 2023, without its removal of borders and of named masks",
        ALL,
        FROM_ZERO,
        OfQueries(trusted, "max", left),
        lambda P, M, above=0.7: rejection(P, M, above),
        aliases=("Maskomaly",),
        parameters={"above": Parameter(0.7, 0.0, 1.0)},
    ),
    "uno": Method(
        "-sum_q M_q (max_k P_qk - P_q0); P_q,outlier instead of P_q0 where an outlier class was trained",
        "UNO: Delic et al., 2024",
        ALL,
        shifted(lambda _K: -1, SHIFTED_BINS),
        # One sum of differences and not the difference of two sums, whose rounding would be left.
        OfQueries(lambda s: s.best - (s.none if s.outlier is None else s.outlier), "sum", left),
        uno,
    ),
    "query-smoothed": Method(
        "half msp, half its mean within the segment argmax_q M_q max_k P_qk",
        "this project",
        ALL,
        EVEN_PROBABILITY,
        OfImage(query_smoothed),
        lambda S, segments: half_of_segments(not_largest(shares(S)), segments),
    ),
}
