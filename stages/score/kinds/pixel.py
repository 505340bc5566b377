"""One image of a pixel network: its logits to counts, or to maps of ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels import pixel as kernels
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counts import Counts
from logitpipe.stages.score.kernels.pixel_ranks import ROWS
from logitpipe.stages.score.kinds.canvas import Band, bands_of, sampled
from logitpipe.stages.score.kinds.maps import Maps
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.plan import Pair, Plan

OWN_ROWS = 64
"""Rows of an image that a method of one's own gets at once."""


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
    geometry : of the image, see `canvas.bands_of`
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("logits",)

    values: np.ndarray
    geometry: Geometry | None = None

    @classmethod
    def prepare(
        cls,
        windows: Sequence[Mapping[str, np.ndarray]],
        geometry: Geometry | None = None,
        _sigmoid_at: SigmoidAt = "masks",
    ) -> Self:
        """See `Logits`; whether they are finite is found where they are scored."""
        return cls(patterns(windows[0]["logits"]), geometry)

    def bands(self, size: tuple[int, int]) -> Iterator[Band]:
        """Yield the logits in bands of the evaluation size."""
        return bands_of([self.values], self.geometry, size)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, all temperatures in one pass over the logits; see `Logits`."""
        # In one order for all groups, as slots and kernel address a temperature by its index.
        temperatures = list(dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in pairs))
        layouts = row_layouts(plan, ROWS)
        height, width = labels.shape
        for band in self.bands((height, width)):
            for group in groups(plan, pairs):
                damaged = kernels.count_pixels(
                    band.values,
                    group.channels,
                    group.classes,
                    np.array(temperatures, np.float32),
                    band.axes,
                    labels[band.rows],
                    _slots(plan, group, temperatures),
                    layouts,
                    counts,
                    plan.threshold_ranks,
                    above,
                )
                _refuse_damage(damaged)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        for group in groups(plan, pairs):
            for T in dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in group.pairs):
                rows = {i: _row(plan, i) for i in group.pairs if _temperature(plan, plan.pairs[i]) == T}
                maps = Maps(rows, ROWS, size)
                for band in self.bands(size):
                    with maps.rows(band.rows) as ranks:
                        damaged = kernels.rank_pixels(
                            band.values,
                            group.channels,
                            group.classes,
                            np.float32(T),
                            band.axes,
                            maps.wanted,
                            ranks,
                        )
                    _refuse_damage(damaged)
                yield from maps.each()

    def own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """See `Logits`."""
        scores, method = np.empty(size, np.float32), plan.methods[plan.pairs[pair].method]
        for band in self.bands(size):
            for rows in own_rows(band.rows):
                logits = sampled(band, plan.in_distribution, rows)
                _refuse_damage(int((~np.isfinite(logits)).sum()))
                given = {"logits": logits, "T": plan.pairs[pair].temperature}
                # Damage is refused before: a function of one's own might hide a NaN.
                scores[rows] = score_band(method, given, scores[rows].shape)
        return scores


def own_rows(rows: slice) -> Iterator[slice]:
    """Divide rows of an image into parts, so that no function of one's own is given all of it at once."""
    ends = range(rows.start, rows.stop, OWN_ROWS)
    yield from (slice(start, min(start + OWN_ROWS, rows.stop)) for start in ends)


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
