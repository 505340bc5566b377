"""Temperatures: which numbers they may be, and evenly spaced ones."""

import math
from collections.abc import Sequence

from logitpipe.cache.errors import UsageError

LEAST, MOST = 1e-3, 1e3
"""Beyond them softmax of real logits is one-hot, or all but even."""

MOST_OF_A_SWEEP = 10_000
"""More is a slip, such as a step of 1e-6; it would fill memory before anything is said."""


def sweep(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Return evenly spaced temperatures, `stop` included where a step reaches it.

    Raises
    ------
    UsageError
        Some would be no temperatures, or there would be more than 10,000.

    Examples
    --------
    >>> import logitpipe as lp
    >>> lp.sweep(0.5, 2, 0.5)
    (0.5, 1.0, 1.5, 2.0)
    """
    if not (math.isfinite(start + stop + step) and step > 0 and stop >= start):
        raise UsageError(f"a sweep rises from START to STOP by a STEP above 0; found {start:g}, {stop:g}, {step:g}")
    # 1e-9 is slack for binary fractions: without it (2 - 0.5) / 0.1 could fall just short of 15 and lose the stop.
    steps = (stop - start) / step + 1e-9
    if not steps < MOST_OF_A_SWEEP:
        raise UsageError(f"{start:g}:{stop:g}:{step:g} makes more than {MOST_OF_A_SWEEP} temperatures")
    # Ten digits drop what repeated steps add: 0.1:0.3:0.1 means 0.3, not 0.30000000000000004.
    return require_temperatures([float(f"{start + i * step:.10g}") for i in range(math.floor(steps) + 1)])


def require_temperatures(values: Sequence[float]) -> tuple[float, ...]:
    """Return temperatures as they are; UsageError for what is none, NaN included."""
    for T in values:
        if not LEAST <= T <= MOST:
            raise UsageError(f"a temperature is a number from 0.001 to 1000, and {T:g} is not")
    return tuple(float(T) for T in values)
