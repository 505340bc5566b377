"""One image as methods see it that need all of it at once (see `methods.method.OfImage`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from logitpipe.stages.score.plan import Pair, Plan

RankMaps = Callable[[Plan, Sequence[int], tuple[int, int]], Iterator[tuple[int, np.ndarray]]]
"""`kinds.Logits.rank_maps` of an image."""


@dataclass(frozen=True)
class WholeImage:
    """An image at the evaluation size, at the temperatures of one pair.

    Parameters
    ----------
    plan, pair : what is computed
    rank_maps : of the image
    size : (H, W)
    winner : returns the index of the class with the largest logit, or the largest S: int64 (H, W)
    segments : of mask networks, returns the query that claims each pixel, argmax_q M_q max_k P_qk: int64 (H, W)
    """

    plan: Plan
    pair: Pair
    rank_maps: RankMaps
    size: tuple[int, int]
    winner: Callable[[], np.ndarray]
    segments: Callable[[], np.ndarray] | None = None

    def scores(self, method: str) -> np.ndarray:
        """Return the scores of another method, at those temperatures of the pair that it has: float64 (H, W)."""
        temperatures = dict(zip(("T", "T_S", "T_m"), self.pair.temperatures, strict=True))
        T, T_S, T_m = (
            (value or 1.0) if name in self.plan.methods[method].temperatures else None
            for name, value in temperatures.items()
        )
        pair = Pair(method, T, "", T_S, T_m)
        plan = replace(self.plan, pairs=(pair,))
        (_, ranks), *_ = self.rank_maps(plan, [0], self.size)
        return plan.formula(pair, ranks)
