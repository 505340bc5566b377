"""Two methods of mask networks as some scripts compute them, for protocols that reproduce their figures.

Such scripts divide S by its sum plus a small number, so that S sums to less than 1 where no query claims a pixel. Or
they take `[:, :-1]` twice: once off the class logits, where the last is "no object", and once more off S, where it is
the last known class. No kernel computes these: they are slow.
"""

from dataclasses import replace

import numpy as np

from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.methods import Method
from logitpipe.stages.score.methods.own import OWN_SCALE, own_method
from logitpipe.stages.score.methods.plain import ratio

SCALE = replace(OWN_SCALE, bins=Bins(14, negative=(-40, -39), positive=(-40, 4)))
"""None of the two is negative."""


def divided(S: np.ndarray, epsilon: float) -> np.ndarray:
    """Return S / (sum S + epsilon), all equal where that is 0 / 0; the classes are the first axis."""
    total = np.broadcast_to(S.sum(axis=0) + S.dtype.type(epsilon), S.shape)
    return ratio(S, total, 1 / len(S))


def scripted(divided_first: bool, epsilon: float, drop_last: bool) -> dict[str, Method]:
    """Return the two methods, by the names of those whose place they take.

    Parameters
    ----------
    divided_first : whether S has been divided by its sum before it was resampled
    epsilon : what is added to the sum where S is divided here
    drop_last : whether the last class is left out of the maximum and of the entropy
    """
    kept = slice(None, -1 if drop_last else None)

    # Either has T as a parameter: P, and so S, is of a temperature.
    def msp(S: np.ndarray, T: float) -> np.ndarray:  # noqa: ARG001
        """Return 1 - max_k p_k."""
        return 1 - (S if divided_first else divided(S, epsilon))[kept].max(axis=0)

    def entropy(S: np.ndarray, T: float) -> np.ndarray:  # noqa: ARG001
        """Return -sum_k p_k log p_k."""
        p = (S if divided_first else divided(S, epsilon))[kept]
        return -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(axis=0)

    plain = (("msp", msp), ("entropy", entropy))
    return {name: replace(own_method(name, f), scale=SCALE, temperatures=("T", "T_m")) for name, f in plain}
