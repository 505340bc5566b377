"""From a threshold in the unit of a method's formula to a limit of the ranks that are computed."""

from collections.abc import Callable

import numpy as np

from logitpipe.stages.score.plan import Plan

_LARGEST = 0x7F800000
"""The pattern of infinity: no float32 has a larger magnitude."""


def limit_above(plan: Plan, pair: int, threshold: float, dtype: type[np.floating] = np.float32) -> np.float32:
    """Return the rank above which scores are above a threshold, both rounded as a float type has them.

    Official tools compare scores that they have read as float16 or float32, strictly; so the last digit counts.

    Parameters
    ----------
    plan, pair : an index into the plan's pairs
    threshold : in the unit that the pair is pooled in, a formula's or 0..1 by minimum and maximum
    dtype : what scores are rounded to before they are compared
    """
    return _last(lambda ranks: bool(dtype(_scores(plan, pair, ranks)) <= threshold))


def limit_from(plan: Plan, pair: int, threshold: float | None) -> np.float32:
    """Return the rank above which scores reach a threshold, as the sweep finds it; None is below all scores."""
    if threshold is None:
        return np.float32(-np.inf)
    return _last(lambda ranks: bool(_scores(plan, pair, ranks) < threshold))


def _scores(plan: Plan, pair: int, ranks: np.ndarray) -> np.float64:
    if plan.pools_scores(plan.pairs[pair].method):
        return np.float64(ranks[0])
    return np.float64(plan.formula(plan.pairs[pair], ranks)[0])


def _last(holds: Callable[[np.ndarray], bool]) -> np.float32:
    """Return the largest rank at which something holds that holds below it too; minus infinity if at none."""
    # Bisection over bit patterns, not values: it ends at the very float where the comparison changes.
    # All float32 in order of their values: about 32 steps find the limit, wherever it is.
    low, high = -_LARGEST, _LARGEST + 1
    with np.errstate(over="ignore", invalid="ignore"):
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if holds(_rank(middle)) else (low, middle)
    return _rank(low)[0]


def _rank(key: int) -> np.ndarray:
    """Return float32 (1,), in the order of the keys: the magnitude's pattern, with the sign."""
    return np.sign(key).astype(np.float32) * np.array([abs(key)], np.int32).view(np.float32)
