"""One image of a pixel network: its logits to counts, or to maps of ranks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import ClassVar, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.fused.pixel import score_pixels
from logitpipe.stages.score.kernels.fused.pixel_ranks import ROWS
from logitpipe.stages.score.kernels.fused.sinks import Sink, counted, kept, whole_rows
from logitpipe.stages.score.kernels.resampling import largest_in_band
from logitpipe.stages.score.kinds.bands import Band, not_finite, sampled
from logitpipe.stages.score.kinds.blocks import class_ranks, count_ranks, own_rows, write_ranks
from logitpipe.stages.score.kinds.canvas import bands_of
from logitpipe.stages.score.kinds.pairs import computed, divided_pairs, row_layouts, row_of
from logitpipe.stages.score.kinds.whole import WholeImage
from logitpipe.stages.score.methods.method import OfImage
from logitpipe.stages.score.methods.own import arguments, score_band
from logitpipe.stages.score.plan import Pair, Plan

BAND_PIXELS, BAND_BYTES = 1 << 19, 128 << 20
"""Pixels whose ranks of all pairs are held at a time, and memory for these ranks in bytes.

Many at a time: the histogram of a pair, which comes from far away for each band, then serves many pixels.
"""


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

    @property
    def known(self) -> list[int]:
        """The channels that are classes."""
        return self.channels[: self.classes].tolist()

    @property
    def void(self) -> int | None:
        """The void channel, where it is read beside them."""
        return int(self.channels[-1]) if self.channels.size > self.classes else None


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
        # There is one: windows of pixel networks were merged before they were stored.
        return cls(patterns(windows[0]["logits"]), geometry)

    def bands(self, size: tuple[int, int]) -> Iterator[Band]:
        """Yield the logits in bands of the evaluation size."""
        return bands_of([self.values], self.geometry, size)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, those of the core at all temperatures in one pass over the logits; see `Logits`."""
        fused, summed = divided_pairs(plan, pairs)
        # In one order for all groups, as slots and kernel address a temperature by its index.
        temperatures = list(dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in fused))
        layouts = row_layouts(plan, ROWS)
        height, width = labels.shape
        for group in groups(plan, summed):
            self._refuse_damage(group.channels.tolist())
        for band in self.bands((height, width)):
            for group in groups(plan, summed):
                found = class_ranks(plan, group.pairs, band, group.known, labels, group.void)
                count_ranks(plan, found, labels, counts, above)
            for group in groups(plan, fused):
                slots = _slots(plan, group, temperatures, group.pairs)
                sink = counted(slots, layouts, counts, plan.threshold_ranks, above, width)
                _score(band, group, temperatures, 0, labels[band.rows], sink)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        fused, summed = divided_pairs(plan, pairs)
        for group in groups(plan, summed):
            self._refuse_damage(group.channels.tolist())
            for i in group.pairs:  # one map at a time: those of a sweep would fill the memory
                scores = np.empty(size, np.float32)
                for band in self.bands(size):
                    found = class_ranks(plan, [i], band, group.known, void=group.void)
                    write_ranks(found, {i: scores})
                yield i, scores
        for group in groups(plan, fused):
            # One temperature at a time, for the same reason; its methods share their sums.
            for T in dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in group.pairs):
                at_T = replace(group, pairs=[i for i in group.pairs if _temperature(plan, plan.pairs[i]) == T])
                maps = {i: np.empty(size, np.float32) for i in at_T.pairs}
                for band in self.bands(size):
                    every = np.zeros((band.rows.stop - band.rows.start, size[1]), np.uint8)
                    for rows, sink, _ in _kept(plan, at_T, band, every, [T]):
                        for i, ranks in zip(at_T.pairs, whole_rows(sink, size[1]), strict=True):
                            maps[i][band.rows][rows] = ranks[: rows.stop - rows.start]
                yield from maps.items()

    def rank_bands(
        self, plan: Plan, pairs: Sequence[int], labels: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """See `Logits`: all temperatures in one pass over the logits."""
        height, width = labels.shape
        fused, summed = divided_pairs(plan, pairs)
        for i, map_ in self.rank_maps(plan, summed, (height, width)):
            yield i, map_.reshape(-1), labels.reshape(-1)
        temperatures = list(dict.fromkeys(_temperature(plan, plan.pairs[i]) for i in fused))
        for band, group in product(self.bands((height, width)), groups(plan, fused)):
            for _, sink, n in _kept(plan, group, band, labels[band.rows], temperatures):
                if n:
                    yield from ((pair, sink.kept[i, :n], sink.labels[:n]) for i, pair in enumerate(group.pairs))

    def whole_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        # Damage is refused before: a function of one's own might hide a NaN.
        self._refuse_damage(plan.in_distribution)
        yield from ((i, self._whole_map(plan, i, size)) for i in pairs)

    def _whole_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        chosen, how = plan.pairs[pair], computed(plan, pair)
        if isinstance(how, OfImage):
            image = WholeImage(plan, chosen, partial(self._map_of, plan, size), lambda: self._winner(plan, size))
            return how.ranks(image, **plan.parameters(chosen))
        scores, method, T = np.empty(size, np.float32), plan.methods[chosen.method], chosen.temperature
        for band in self.bands(size):
            for rows in own_rows(band.rows):
                logits = sampled(band, plan.in_distribution, rows)
                given = {"logits": logits, "T": T}
                if "p" in arguments(method.reference):
                    e = np.exp((logits - logits.max(axis=0)) / np.float32(T or 1.0))
                    given["p"] = e / e.sum(axis=0)
                scores[rows] = score_band(method, given, scores[rows].shape)
        return scores

    def _map_of(self, plan: Plan, size: tuple[int, int], pair: Pair) -> np.ndarray:
        """Return the ranks of one pair: float32 (H, W)."""
        (_, ranks), *_ = self.rank_maps(replace(plan, pairs=(pair,)), [0], size)
        return ranks

    def _winner(self, plan: Plan, size: tuple[int, int]) -> np.ndarray:
        """Return the class with the largest logit: int16 (H, W)."""
        known = plan.in_distribution
        found, equally = np.empty((1, *size), np.int16), np.ones((1, len(known)), np.float32)
        for band in self.bands(size):
            largest_in_band(band.values[known], equally, band.axes, band.rows.start, found)
        return found[0]

    def _refuse_damage(self, channels: Sequence[int]) -> None:
        """Look for damage where no fused kernel does: also in pixels that no figure counts."""
        for channel in channels:
            values = self.values[channel]
            # All bits of the exponent are set in infinities and NaN alone.
            _refuse(int((values & 0x7C00 == 0x7C00 if values.dtype == np.uint16 else ~np.isfinite(values)).sum()))


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


def _slots(plan: Plan, group: Group, temperatures: Sequence[float], places: Iterable[int]) -> np.ndarray:
    """Return where the kernel puts each rank: int64 (ROWS, temperatures), -1 for what it need not compute.

    Parameters
    ----------
    places : of the group's pairs
    """
    slots = np.full((ROWS, len(temperatures)), -1)
    for i, place in zip(group.pairs, places, strict=True):
        slots[row_of(plan, i), temperatures.index(_temperature(plan, plan.pairs[i]))] = place
    return slots


def _score(
    band: Band, group: Group, temperatures: Sequence[float], start: int, labels: np.ndarray, sink: Sink
) -> int:
    """Score some rows of a band, from `start` on; return how many ranks of each pair were kept."""
    divisors = np.array(temperatures, np.float32)
    kept, damaged = score_pixels(band.values, group.channels, group.classes, divisors, band.axes, start, labels, sink)
    _refuse(damaged)
    return kept


def _kept(
    plan: Plan, group: Group, band: Band, labels: np.ndarray, temperatures: Sequence[float]
) -> Iterator[tuple[slice, Sink, int]]:
    """Yield rows of a band, the sink that has kept their ranks, one row for each pair, and how many of each it has.

    The sink is written over by what is yielded next; labels are those of the band.
    """
    pixels = min(BAND_PIXELS, BAND_BYTES // (4 * len(group.pairs)))
    rows = min(len(labels), max(1, pixels // labels.shape[1]))
    sink = kept(_slots(plan, group, temperatures, range(len(group.pairs))), rows, labels.shape[1])
    for start in range(0, len(labels), rows):
        part = slice(start, min(start + rows, len(labels)))
        yield part, sink, _score(band, group, temperatures, start, labels[part], sink)


def _temperature(plan: Plan, pair: Pair) -> float:
    """Return the temperature at which a pair is computed: the first one where it does not matter."""
    return plan.temperatures[0] if pair.temperature is None else pair.temperature


def _refuse(damaged: int) -> None:
    if damaged:
        raise not_finite(damaged)
