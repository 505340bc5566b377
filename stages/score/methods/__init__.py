"""Every post-hoc method: which row of the kernels it is, whether temperature matters, how its scores are counted.

Sources are in the README's method table. The kernels hold the fast arithmetic; beside each row stands its formula in
float64, plainly, which tests hold the kernels to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels import mask_ranks, pixel_ranks
from logitpipe.stages.score.methods.plain import (
    entropy,
    log_sum_exp,
    mix,
    not_best,
    not_largest,
    ratio,
    shares,
    softmax,
)
from logitpipe.stages.score.methods.scales import (
    ENTROPY,
    FREE_ENERGY,
    LOGIT,
    PROBABILITY,
    PROBABILITY_LEFT,
    SHIFTED_BINS,
    Scale,
    shifted,
)


@dataclass(frozen=True)
class Method:
    """A post-hoc anomaly score; higher means more anomalous.

    Parameters
    ----------
    row : its row in the ranks of the kernel
    temperature : whether temperature changes the order of its scores
    scale : how its scores become ranks and are counted
    formula : as the README prints it
    reference : the formula in float64, of what its parameters say. Pixel networks: z, logits (K, ...) of the classes,
        T, and `void`, the void channel (...). Mask networks: S, (K, ...), or Z_k = sum_q z_qk M_q, both at the size
        of evaluation; or P, (Q, K + 1), and M, (Q, h, w), where the score is a single map before it is resampled
    own : whether it is a function of the user's, which no kernel computes (own.py)
    """

    row: int
    temperature: bool
    scale: Scale
    formula: str
    reference: Callable[..., np.ndarray]
    own: bool = False


PIXEL_METHODS: dict[str, Method] = {
    "msp": Method(
        pixel_ranks.MSP,
        True,
        PROBABILITY_LEFT,
        "1 - max softmax(z/T)",
        lambda z, T: not_largest(softmax(z / T)),
    ),
    "maxlogit": Method(pixel_ranks.MAXLOGIT, False, LOGIT, "-max z", lambda z: -z.max(axis=0)),
    "entropy": Method(
        pixel_ranks.ENTROPY,
        True,
        ENTROPY,
        "-sum p log p, p = softmax(z/T)",
        lambda z, T: entropy(softmax(z / T)),
    ),
    "energy": Method(
        pixel_ranks.ENERGY,
        True,
        FREE_ENERGY,
        "-T logsumexp(z/T)",
        lambda z, T: -T * log_sum_exp(z / T),
    ),
    "void": Method(
        pixel_ranks.VOID,
        True,
        PROBABILITY,
        "softmax(z/T) over all channels, the void channel",
        lambda z, void, T: softmax(np.concatenate([void[None], z]) / T)[0],
    ),
}

MASK_METHODS: dict[str, Method] = {
    "msp": Method(
        mask_ranks.MSP,
        True,
        PROBABILITY_LEFT,
        "1 - max_k S_k / sum_k S_k",
        lambda S: not_largest(shares(S)),
    ),
    "entropy": Method(
        mask_ranks.ENTROPY,
        True,
        ENTROPY,
        "entropy of S / sum_k S_k",
        lambda S: entropy(shares(S)),
    ),
    "maxlogit": Method(mask_ranks.MAXLOGIT, False, LOGIT, "-max_k sum_q z_qk M_q", lambda Z: -Z.max(axis=0)),
    "rba": Method(
        mask_ranks.RBA,
        True,
        shifted(lambda _K: -np.tanh(1), SHIFTED_BINS),
        "-sum_k tanh(S_k)",
        lambda S: -np.tanh(S).sum(axis=0),
    ),
    "rba-normalized": Method(
        mask_ranks.RBA_NORMALIZED,
        True,
        shifted(lambda _K: 0, SHIFTED_BINS),
        "sum_q (1 - max_k P_qk) M_q / sum_q M_q",
        lambda P, M: ratio(mix(not_best(P), M), M.sum(axis=0), 1),
    ),
    "mask2anomaly": Method(
        mask_ranks.MASK2ANOMALY,
        True,
        shifted(lambda _K: 0, SHIFTED_BINS),
        "1 - max_k S_k",
        lambda S: 1 - S.max(axis=0),
    ),
    "neg-sum": Method(
        mask_ranks.NEG_SUM,
        True,
        shifted(lambda _K: -1, SHIFTED_BINS),
        "-sum_k S_k",
        lambda S: -S.sum(axis=0),
    ),
    "mask-energy": Method(
        mask_ranks.MASK_ENERGY,
        True,
        shifted(lambda K: -np.log(np.exp(1) + K - 1), SHIFTED_BINS),
        "-logsumexp_k S_k",
        lambda S: -log_sum_exp(S),
    ),
    "eam": Method(
        mask_ranks.EAM,
        True,
        shifted(lambda _K: 0, SHIFTED_BINS),
        "1 - sum_q M_q max_k P_qk",
        lambda P, M: 1 - mix(P[:, :-1].max(axis=1), M),
    ),
    "void": Method(
        mask_ranks.VOID,
        True,
        shifted(lambda _K: 0, SHIFTED_BINS),
        "sum_q P_q,none M_q",
        lambda P, M: mix(P[:, -1], M),
    ),
}

METHODS: dict[str, dict[str, Method]] = {"pixel": PIXEL_METHODS, "mask": MASK_METHODS}
"""Methods by kind of network and by name."""

METHOD_NAMES = tuple(dict.fromkeys(name for methods in METHODS.values() for name in methods))
"""All names, whichever kind of network they are for."""
