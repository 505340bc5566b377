"""Every post-hoc method: which row of the kernels it is, whether temperature matters, how its scores are counted.

Formulas and sources are in the README's method table; the kernels hold the arithmetic.
"""

from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels import mask_ranks, pixel_ranks
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
    """

    row: int
    temperature: bool
    scale: Scale
    formula: str


PIXEL_METHODS: dict[str, Method] = {
    "msp": Method(pixel_ranks.MSP, True, PROBABILITY_LEFT, "1 - max softmax(z/T)"),
    "maxlogit": Method(pixel_ranks.MAXLOGIT, False, LOGIT, "-max z"),
    "entropy": Method(pixel_ranks.ENTROPY, True, ENTROPY, "-sum p log p, p = softmax(z/T)"),
    "energy": Method(pixel_ranks.ENERGY, True, FREE_ENERGY, "-T logsumexp(z/T)"),
    "void": Method(pixel_ranks.VOID, True, PROBABILITY, "softmax(z/T) over all channels, the void channel"),
}

MASK_METHODS: dict[str, Method] = {
    "msp": Method(mask_ranks.MSP, True, PROBABILITY_LEFT, "1 - max_k S_k / sum_k S_k"),
    "entropy": Method(mask_ranks.ENTROPY, True, ENTROPY, "entropy of S / sum_k S_k"),
    "maxlogit": Method(mask_ranks.MAXLOGIT, False, LOGIT, "-max_k sum_q z_qk M_q"),
    "rba": Method(mask_ranks.RBA, True, shifted(lambda _K: -np.tanh(1), SHIFTED_BINS), "-sum_k tanh(S_k)"),
    "rba-normalized": Method(
        mask_ranks.RBA_NORMALIZED, True, shifted(lambda _K: 0, SHIFTED_BINS), "sum_q (1 - max_k P_qk) M_q / sum_q M_q"
    ),
    "mask2anomaly": Method(mask_ranks.MASK2ANOMALY, True, shifted(lambda _K: 0, SHIFTED_BINS), "1 - max_k S_k"),
    "neg-sum": Method(mask_ranks.NEG_SUM, True, shifted(lambda _K: -1, SHIFTED_BINS), "-sum_k S_k"),
    "mask-energy": Method(
        mask_ranks.MASK_ENERGY, True, shifted(lambda K: -np.log(np.e + K - 1), SHIFTED_BINS), "-logsumexp_k S_k"
    ),
    "eam": Method(mask_ranks.EAM, True, shifted(lambda _K: 0, SHIFTED_BINS), "1 - sum_q M_q max_k P_qk"),
    "void": Method(mask_ranks.VOID, True, shifted(lambda _K: 0, SHIFTED_BINS), "sum_q P_q,none M_q"),
}

METHODS: dict[str, dict[str, Method]] = {"pixel": PIXEL_METHODS, "mask": MASK_METHODS}
"""Methods by kind of network and by name."""

METHOD_NAMES = tuple(dict.fromkeys(name for methods in METHODS.values() for name in methods))
"""All names, whichever kind of network they are for."""
