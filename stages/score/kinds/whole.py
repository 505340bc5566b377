"""One image as methods see it that need all of it at once (see `methods.method.OfImage`)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.methods.method import TEMPERATURES
from logitpipe.stages.score.plan import Pair, Plan


def beside(plan: Plan, pair: Pair, method: str) -> Pair:
    """Return the pair of another method at those temperatures of a pair that it has."""
    has = plan.methods[method].temperatures
    T, T_S, T_m = (
        (value or 1.0) if name in has else None for name, value in zip(TEMPERATURES, pair.temperatures, strict=True)
    )
    return Pair(method, T, "", T_S, T_m)


@dataclass(frozen=True)
class WholeImage:
    """An image at the evaluation size, at the temperatures of one pair.

    Parameters
    ----------
    plan, pair : what is computed
    ranks_of : returns the ranks of a pair: float32 (H, W)
    largest : returns the class with the largest logit, or of mask networks the query that claims a pixel,
        argmax_q M_q max_k P_qk: int16 (H, W)
    """

    plan: Plan
    pair: Pair
    ranks_of: Callable[[Pair], np.ndarray]
    largest: Callable[[], np.ndarray]

    def ranks(self, method: str) -> np.ndarray:
        """Return the ranks of another method, at those temperatures of the pair that it has: float32 (H, W)."""
        return self.ranks_of(beside(self.plan, self.pair, method))

    def scores(self, method: str) -> np.ndarray:
        """Return the same as scores: float64 (H, W)."""
        return self.plan.formula(beside(self.plan, self.pair, method), self.ranks(method))
