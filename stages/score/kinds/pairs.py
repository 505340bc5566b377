"""How pairs of a plan are computed: by the fused kernels, from sums over classes, or from the whole image."""

from collections.abc import Sequence

import numpy as np

from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.method import Computed, Fused, OfClasses
from logitpipe.stages.score.plan import Plan


def computed(plan: Plan, pair: int) -> Computed:
    """Return how a pair is computed."""
    return plan.methods[plan.pairs[pair].method].computed


def divided_pairs(plan: Plan, pairs: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the pairs that fused kernels compute, and those that finish sums over classes."""
    fused = [i for i in pairs if isinstance(computed(plan, i), Fused)]
    return fused, [i for i in pairs if isinstance(computed(plan, i), OfClasses)]


def row_layouts(plan: Plan, rows: int) -> np.ndarray:
    """Return how the kernel counts each of its rows: int32 (rows, 5)."""
    layouts = np.zeros((rows, 5), np.int32)
    for method in METHODS[plan.schema.kind].values():
        if isinstance(method.computed, Fused):
            layouts[method.computed.row] = method.scale.bins.layout
    return layouts


def row_of(plan: Plan, pair: int) -> int:
    """Return which row of the fused kernel is a pair's."""
    how = computed(plan, pair)
    assert isinstance(how, Fused)
    return how.row
