"""Two methods of mask networks without the last class, as some scripts compute them.

They take `[:, :-1]` twice: once off the class logits, where the last is "no object", and once more off S, where it is
the last known class. No kernel computes these: they are slow and there to reproduce figures.
"""

from dataclasses import replace

import numpy as np

from logitpipe.stages.score.kernels.counting import Bins
from logitpipe.stages.score.methods import Method
from logitpipe.stages.score.methods.own import OWN_SCALE, own_method
from logitpipe.stages.score.methods.plain import shares


def msp_without_last(S: np.ndarray, T: float) -> np.ndarray:  # noqa: ARG001 - P, and so S, is of this temperature
    """Return 1 - max_k S_k / sum_k S_k, the maximum without the last class: (K, h, w) to (h, w)."""
    return 1 - shares(S)[:-1].max(axis=0)


def entropy_without_last(S: np.ndarray, T: float) -> np.ndarray:  # noqa: ARG001 - as above
    """Return -sum_k p_k log p_k of p = S / sum_k S_k, without the term of the last class: (K, h, w) to (h, w)."""
    p = shares(S)[:-1]
    # 0 log 0 is 0.
    return -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(axis=0)


SCALE = replace(OWN_SCALE, bins=Bins(14, negative=(-40, -39), positive=(-40, 4)))
"""None of the two is negative."""

LAST_DROPPED: dict[str, Method] = {
    "msp": replace(own_method("msp", msp_without_last), scale=SCALE),
    "entropy": replace(own_method("entropy", entropy_without_last), scale=SCALE),
}
"""What stands in the place of the methods of these names."""
