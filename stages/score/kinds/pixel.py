"""One image of a pixel network: its logits to counts, or to maps of ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.stages.score.kernels import pixel as kernels
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counts import Counts
from logitpipe.stages.score.kernels.pixel_ranks import ROWS
from logitpipe.stages.score.kernels.resampling import Axis, axis_weights, sample_band
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.plan import Pair, Plan

BAND = 64
"""Height, in rows, of the bands of an image that a method of one's own gets."""


@dataclass(frozen=True)
class Group:
    """Methods that see the same classes.

    Parameters
    ----------
    channels : int64 (P,), channels to read: the classes, then perhaps void
    classes : number of classes
    pairs : indices into the plan's pairs
    """

    channels: np.ndarray
    classes: int
    pairs: list[int]


@dataclass(frozen=True)
class PixelLogits:
    """Logits of a pixel network (see `kinds.Logits`).

    Parameters
    ----------
    values : (C, h, w), float32 or the patterns of float16
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("logits",)

    values: np.ndarray

    @classmethod
    def prepare(cls, values: Mapping[str, np.ndarray]) -> Self:
        """See `Logits`; whether they are finite is found where they are scored."""
        return cls(patterns(values["logits"]))

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, all temperatures in one pass over the logits; see `Logits`."""
        # In one order for all groups, as slots and kernel address a temperature by its index.
        temperatures = list(dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in pairs))
        layouts = row_layouts(plan, ROWS)
        for group in groups(plan, pairs):
            damaged = kernels.count_pixels(
                self.values,
                group.channels,
                group.classes,
                np.array(temperatures, np.float32),
                axes(self.values.shape[1:], labels.shape),
                labels,
                _slots(plan, group, temperatures),
                layouts,
                counts,
                plan.threshold_ranks,
                above,
            )
            _refuse_damage(damaged)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        sizes = axes(self.values.shape[1:], size)
        for group in groups(plan, pairs):
            for T in dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in group.pairs):
                rows = {i: _row(plan, i) for i in group.pairs if _temperature(plan, plan.pairs[i]) == T}
                wanted, ranks = np.isin(np.arange(ROWS), list(rows.values())), np.empty((ROWS, *size), np.float32)
                damaged = kernels.rank_pixels(
                    self.values, group.channels, group.classes, np.float32(T), sizes, wanted, ranks
                )
                _refuse_damage(damaged)
                yield from ((i, ranks[row]) for i, row in rows.items())

    def own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """See `Logits`."""
        scores, method = np.empty(size, np.float32), plan.methods[plan.pairs[pair].method]
        for rows in bands(size[0]):
            logits = sampled(self.values, plan.in_distribution, rows, size)
            _refuse_damage(int((~np.isfinite(logits)).sum()))
            given = {"logits": logits, "T": plan.pairs[pair].temperature}
            # Damage is refused before: a function of one's own might hide a NaN.
            scores[rows] = score_band(method, given, scores[rows].shape)
        return scores


def bands(height: int) -> Iterator[slice]:
    """Yield the rows of an image in bands, so that no function of one's own is given all of it at once."""
    yield from (slice(start, min(start + BAND, height)) for start in range(0, height, BAND))


def sampled(planes: np.ndarray, chosen: Sequence[int], rows: slice, size: tuple[int, int]) -> np.ndarray:
    """Return some rows of chosen planes (P, h, w) at the evaluation size: float32 (len(chosen), rows, W)."""
    out = np.empty((len(chosen), rows.stop - rows.start, size[1]), np.float32)
    sample_band(planes, np.array(chosen, np.int64), rows.start, axes(planes.shape[1:], size), out)
    return out


def groups(plan: Plan, pairs: Sequence[int]) -> list[Group]:
    """Group pairs by the classes they see: a protocol may add void to the classes, but not for the method `void`."""
    plain: list[int] = []
    widened: list[int] = []
    for i in pairs:
        more = plan.classes(plan.pairs[i].method) > len(plan.in_distribution)
        (widened if more else plain).append(i)
    # The void channel is sampled only for its own score; nobody else reads it here.
    void = [plan.schema.unknown_class] if any(plan.pairs[i].method == "void" for i in plain) else []
    known, every = plan.in_distribution, list(range(len(plan.schema.classes)))
    found = [Group(np.array(known + void), len(known), plain), Group(np.array(every), len(every), widened)]
    return [group for group in found if group.pairs]


def row_layouts(plan: Plan, rows: int) -> np.ndarray:
    """Return how the kernel counts each of its rows: int32 (rows, 5)."""
    layouts = np.zeros((rows, 5), np.int32)
    for method in METHODS[plan.schema.kind].values():
        layouts[method.row] = method.scale.bins.layout
    return layouts


def axes(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return how rows and columns of the store map to those of evaluation."""
    return axis_weights(source[0], target[0]), axis_weights(source[1], target[1])


def _slots(plan: Plan, group: Group, temperatures: list[float]) -> np.ndarray:
    """Return where the kernel counts: int64 (ROWS, temperatures), -1 for what it need not count."""
    slots = np.full((ROWS, len(temperatures)), -1)
    for i in group.pairs:
        slots[_row(plan, i), temperatures.index(_temperature(plan, plan.pairs[i]))] = i
    return slots


def _row(plan: Plan, pair: int) -> int:
    """Return which row of the kernel is a pair's."""
    return plan.methods[plan.pairs[pair].method].row


def _temperature(plan: Plan, pair: Pair) -> float:
    """Return the temperature at which a pair is computed: the first one where it does not matter."""
    return plan.temperatures[0] if pair.temperature is None else pair.temperature


def _refuse_damage(damaged: int) -> None:
    if damaged:
        raise IntegrityError(f"finite logits were expected, {damaged} are NaN or infinite")
