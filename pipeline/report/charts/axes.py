"""Axes of charts: values to positions, and ticks at round numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

ROUND = (1, 2, 2.5, 5, 10)
TICK_REACH = 0.08
"""How far from where a tick is wanted a rounder number may lie, as a share of the axis."""
LOGARITHMIC_FROM = 10.0
"""An axis of temperatures is logarithmic where the highest is so many times the lowest."""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` at position `start` to `high` at position `end`.

    Parameters
    ----------
    low, high : values, low < high; both positive where logarithmic
    start, end : positions in the chart's unit; end < start for an axis that runs upwards
    ticks : values that are marked, with the text at each
    logarithmic : whether equal ratios are equally far apart
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def position(self, value: float) -> float:
        """Return where a value is; what lies beyond the ends is held at them."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        low, high = scale(self.low), scale(self.high)
        share = (scale(max(self.low, min(self.high, value))) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def even_axis(low: float, high: float, start: float, end: float, count: int = 5) -> Axis:
    """Return an axis with about `count` ticks at round numbers, widened to the ticks at its ends."""
    step = round_step((high - low) / count if high > low else max(abs(low), 1) / count)
    # 1e-9 of a step: 0.3 / 0.1 is 2.999... and must not cost a tick or add one.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # One value alone (low == high) would give an axis of no length, and `position` a division by zero.
    last = max(last, first + 1)
    # Multiplied and not added up: sums of 0.1 drift.
    ticks = tuple((i * step, number(i * step)) for i in range(first, last + 1))
    return Axis(first * step, last * step, start, end, ticks)


def temperature_axis(temperatures: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis from the lowest to the highest of some temperatures, logarithmic over a decade or more."""
    low, high = min(temperatures), max(temperatures)
    if high / low < LOGARITHMIC_FROM:
        ticks = [value for value, _ in even_axis(low, high, start, end).ticks if low <= value <= high]
    else:
        ticks = _decade_ticks(low, high)
    return Axis(low, high, start, end, tuple((t, number(t)) for t in ticks), high / low >= LOGARITHMIC_FROM)


def score_ticks(edges: np.ndarray, shares: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Yield positions along the bins of scores and the round score at each.

    Parameters
    ----------
    edges : float64 (bins + 1,), scores
    shares : where along the bins a tick is wanted
    """
    bins = edges.size - 1
    positions = np.arange(bins + 1)
    for share in shares:
        low, high = np.interp([bins * (share - TICK_REACH), bins * (share + TICK_REACH)], positions, edges)
        score = roundest(float(low), float(high))
        yield float(np.interp(score, edges, positions)), number(score)


def round_step(step: float) -> float:
    """Return the least of 1, 2, 2.5 and 5 times a power of ten that is no less than `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in ROUND if factor * power >= step * (1 - 1e-9))


def roundest(low: float, high: float) -> float:
    """Return the number of the fewest digits from `low` to `high`."""
    if low <= 0 <= high or low == high:
        return 0.0 if low <= 0 <= high else low
    exponent = math.ceil(math.log10(max(abs(low), abs(high))))
    steps = (factor * 10.0**power for power in range(exponent, exponent - 17, -1) for factor in (1, 0.5, 0.2))
    candidates = (step * math.ceil(low / step) for step in steps)
    return next((value for value in candidates if low <= value <= high), low)


def number(value: float) -> str:
    """Return a number without digits that only binary fractions give it."""
    return f"{value:.10g}"


def _decade_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten within limits, and 2 and 5 times these where there is room."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low <= 200 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
