"""The planes that pairs of a mask network are computed from: S and single maps, mixed of M block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.fused import mask_more, mask_ranks
from logitpipe.stages.score.kernels.fused.mask import Row, score_masks
from logitpipe.stages.score.kernels.fused.mask_more import CLASS_ROWS
from logitpipe.stages.score.kernels.fused.mask_ranks import SINGLE_MAPS
from logitpipe.stages.score.kernels.fused.sinks import Sink, counted, kept, whole_rows
from logitpipe.stages.score.kernels.sums import weighted_max
from logitpipe.stages.score.kinds.bands import Band, Size
from logitpipe.stages.score.kinds.blocks import Ranks
from logitpipe.stages.score.kinds.mask_blocks import Block, JoinedBlock
from logitpipe.stages.score.kinds.pairs import computed
from logitpipe.stages.score.kinds.queries import Queries, mixed
from logitpipe.stages.score.methods.accumulators import Shares, not_best
from logitpipe.stages.score.methods.method import Fused, FusedMore, OfQueries
from logitpipe.stages.score.methods.scales import sharp_energy
from logitpipe.stages.score.plan import Pair, Plan

AnyBlock = Block | JoinedBlock
Blocks = Callable[[Size, float], Iterator[AnyBlock]]
"""`mask.MaskLogits.blocks` of an image."""

Pairs = Mapping[float, Sequence[int]]
"""Indices of the plan's pairs by T."""

PLANES_BYTES = 32 << 20
"""Memory for the planes that are mixed in one pass over M, those of one temperature at least, in bytes."""


@dataclass(frozen=True)
class Planes:
    """What some pairs at one temperature are computed from by a fused kernel, of some rows.

    Parameters
    ----------
    band : planes, and the rows that they serve
    places : for each pair, an index into the plan's, its row of the kernel's ranks and the index of its T_S
    classes : the first planes, which are classes
    maps : those behind them that are taken as well
    divisors : T_S; none where the pairs are those of the core
    """

    band: Band
    places: Mapping[int, tuple[int, int]]
    classes: int
    maps: int
    divisors: tuple[float, ...] = ()

    def count(self, plan: Plan, labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count the pairs in the rows of the band; see `kinds.Logits`."""
        slots, layouts = self._slots(list(self.places)), np.zeros((self._rows, 5), np.int32)
        for i, (row, _) in self.places.items():
            layouts[row] = plan.bins(plan.pairs[i]).layout
        sink = counted(slots, layouts, counts, plan.threshold_ranks, above, labels.shape[1])
        self._score(labels[self.band.rows], sink)

    def ranks(self) -> Ranks:
        """Yield the ranks of the pairs in the rows of the band, see `blocks.class_ranks`."""
        rows, width = self.band.rows, self.band.axes[1][0].size
        sink = kept(self._slots(range(len(self.places))), rows.stop - rows.start, width)
        self._score(np.zeros((rows.stop - rows.start, width), np.uint8), sink)
        yield from ((i, rows, ranks) for i, ranks in zip(self.places, whole_rows(sink, width), strict=True))

    @property
    def _rows(self) -> int:
        return CLASS_ROWS + self.maps if self.divisors else mask_ranks.ROWS

    def _slots(self, found: Sequence[int]) -> np.ndarray:
        """Return where the kernel puts each rank: int64 (rows, T_S), -1 where nobody asks."""
        slots = np.full((self._rows, max(1, len(self.divisors))), -1)
        for place, slot in zip(self.places.values(), found, strict=True):
            slots[place] = slot
        return slots

    def _score(self, labels: np.ndarray, sink: Sink) -> None:
        width, chosen = labels.shape[1], np.arange(self.classes + self.maps)
        room: Row = mask_ranks.make_row(width)
        if self.divisors:
            sharp = [sharp_energy(T_S, self.classes) for T_S in self.divisors] if self.classes else [0.0]
            divisors = np.array(self.divisors, np.float32)
            room = mask_more.make_row(width, divisors, np.array(sharp, np.float32), self.maps)
        score_masks(self.band.values, chosen, self.classes, self.band.axes, labels, room, sink)


def all_planes(plan: Plan, pairs: Sequence[int], blocks: Blocks, size: Size) -> Iterator[Planes]:
    """Yield the planes of each block: those of each temperature, then those of raw class logits, which have none."""
    for T_m in dict.fromkeys(plan.pairs[i].mask_temperature for i in pairs):
        of_masks = [i for i in pairs if plan.pairs[i].mask_temperature == T_m]
        by_temperature: dict[float | None, list[int]] = {}
        for i in of_masks:
            by_temperature.setdefault(plan.pairs[i].temperature, []).append(i)
        raw = by_temperature.pop(None, [])
        for block in blocks(size, T_m or 1.0):
            most = max(1, PLANES_BYTES // (4 * (len(plan.in_distribution) + SINGLE_MAPS) * block.pixels))
            for start in range(0, len(by_temperature), most):
                some = list(by_temperature.items())[start : start + most]
                yield from _tempered(plan, {T or 1.0: wanted for T, wanted in some}, block)
            if raw:
                planes = block.mix([_matrix(each.class_logits[:, plan.in_distribution].T) for each in block.queries])
                for band in block.mixed_bands(planes):
                    yield from _of_band(plan, raw, band, maps=0)


def _of_band(plan: Plan, pairs: Sequence[int], band: Band, maps: int) -> Iterator[Planes]:
    """Yield the planes of the core's pairs, and those of others that are functions of the class planes."""
    K = len(plan.in_distribution)
    ways = {i: computed(plan, i) for i in pairs}
    core = {i: how.row for i, how in ways.items() if isinstance(how, Fused)}
    more = {i: how.row for i, how in ways.items() if isinstance(how, FusedMore)}
    if core:
        yield Planes(band, {i: (row, 0) for i, row in core.items()}, K, maps)
    if more:
        divisors = tuple(dict.fromkeys(plan.pairs[i].map_temperature or 1.0 for i in more))
        places = {i: (row, divisors.index(plan.pairs[i].map_temperature or 1.0)) for i, row in more.items()}
        yield Planes(band, places, K, 0, divisors)


def _tempered(plan: Plan, by_temperature: Pairs, block: AnyBlock) -> Iterator[Planes]:
    """Yield the planes of one block at some temperatures, which are mixed in one pass over M."""
    shares = {T: [_shares(plan, each, T) for each in block.queries] for T in by_temperature}
    of_classes, of_queries = dict[float, list[int]](), dict[float, list[int]]()
    for T, wanted in by_temperature.items():
        for i in wanted:
            which = of_queries if isinstance(computed(plan, i), OfQueries) else of_classes
            which.setdefault(T, []).append(i)
    if of_classes:
        yield from _class_planes(plan, of_classes, shares, block)
    if of_queries:
        yield from _query_maps(plan, of_queries, shares, block)


def _class_planes(
    plan: Plan,
    by_temperature: Pairs,
    shares: Mapping[float, Sequence[Shares]],
    block: AnyBlock,
) -> Iterator[Planes]:
    """Yield S, and the single maps of the core, at each temperature."""
    K = len(plan.in_distribution)
    rows = K + SINGLE_MAPS
    matrices = {T: [mixing(each.P) for each in shares[T]] for T in by_temperature}
    stacked = [np.concatenate(of_window) for of_window in zip(*matrices.values(), strict=True)]
    mixed_planes = block.mix(stacked)
    block.divide(mixed_planes, stacked, slice(rows - 1, None, rows))
    for t, (T, wanted) in enumerate(by_temperature.items()):
        planes = [each[t * rows : (t + 1) * rows] for each in mixed_planes]
        early = [i for i in wanted if normalised_first(plan, i)]
        # One product with M serves both forms: `normalised` returns a copy and leaves `planes` as it is.
        if late := [i for i in wanted if i not in early]:
            for band in block.mixed_bands(planes):
                yield from _of_band(plan, late, band, SINGLE_MAPS)
        if early:
            of_windows = [normalised(each, K) for each in block.unjoined(planes, matrices[T])]
            for band in block.bands(of_windows):
                yield from _of_band(plan, early, band, SINGLE_MAPS)


def _query_maps(
    plan: Plan,
    by_temperature: Pairs,
    shares: Mapping[float, Sequence[Shares]],
    block: AnyBlock,
) -> Iterator[Planes]:
    """Yield the maps that are sums or maxima over queries, made of all temperatures in one pass over M."""
    found = []
    for w, queries in enumerate(block.queries):
        each = {i: shares[T][w] for T, wanted in by_temperature.items() for i in wanted}
        found.append(_maps_of_window(plan, each, queries))
    start = 0
    for wanted in by_temperature.values():
        places = {i: (CLASS_ROWS + p, 0) for p, i in enumerate(wanted)}
        for band in block.bands([maps[start : start + len(wanted)] for maps in found]):
            yield Planes(band, places, 0, len(wanted), (1.0,))
        start += len(wanted)


def _maps_of_window(plan: Plan, shares: Mapping[int, Shares], queries: Queries) -> np.ndarray:
    """Return the maps of some pairs, given the shares of queries that each is made of: float32 (pairs, n)."""
    how = {i: way for i in shares if isinstance(way := computed(plan, i), OfQueries)}
    weights = {i: how[i].weights(each, **plan.parameters(plan.pairs[i])) for i, each in shares.items()}
    maps = np.empty((len(shares), queries.claimed.size), np.float32)
    for over in ("sum", "max"):
        chosen = [p for p, i in enumerate(shares) if how[i].over == over]
        if chosen:
            matrix = _matrix([each for i, each in weights.items() if how[i].over == over])
            maps[chosen] = mixed([matrix], [queries])[0] if over == "sum" else weighted_max(queries.M, matrix)
    for p, i in enumerate(shares):
        maps[p] = how[i].finish(maps[p], queries.claimed)
    return maps


def _shares(plan: Plan, queries: Queries, T: float) -> Shares:
    """Return how queries are distributed over the classes."""
    P, outlier = softmax(queries.class_logits / T), getattr(plan.schema, "outlier_class", None)
    return Shares(_known_first(P, plan.in_distribution), None if outlier is None else P[:, outlier])


def known_shares(plan: Plan, pair: Pair, queries: Queries) -> np.ndarray:
    """Return P, float64 (Q, K + 1), of the known classes and, last, the rest."""
    return _shares(plan, queries, pair.temperature or 1.0).P


def _known_first(P: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Return (Q, K + 1) with the known classes and, last, the rest: no object, and void or outlier where trained."""
    if len(known) == P.shape[1] - 1:
        return P
    # Summed and not 1 - the known ones, which would cancel where the network is confident.
    rest = np.delete(P, known, axis=1).sum(axis=1)
    return np.column_stack([P[:, known], rest])


def mixing(P: np.ndarray) -> np.ndarray:
    """Return how S_k and the maps of `eam`, `void` and `rba-normalized` are mixed of M: float32 (K + SINGLE_MAPS, Q).

    The last is still to be divided by the sum over queries of M.

    Parameters
    ----------
    P : float64 (Q, K + 1), softmax over the classes and, last, no object
    """
    classes = P[:, :-1]
    return _matrix(np.column_stack([classes, classes.max(axis=1), P[:, -1], not_best(P)]).T)


def normalised(planes: np.ndarray, classes: int) -> np.ndarray:
    """Return planes whose S sums to 1 in each pixel; where all S are 0 they become equal."""
    total = planes[:classes].sum(axis=0)
    shares = np.divide(planes[:classes], total, out=np.full_like(planes[:classes], 1 / classes), where=total > 0)
    return np.concatenate([shares, planes[classes:]])


def normalised_first(plan: Plan, pair: int) -> bool:
    """Return whether the protocol has S divided by its sum before a pair is computed."""
    return plan.protocol.normalise_first and plan.pairs[pair].method in ("msp", "entropy")


def softmax(z: np.ndarray) -> np.ndarray:
    """Return softmax over the last axis."""
    # Relative to the maximum, so that low temperatures cannot overflow.
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _matrix(weights: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Return weights (P, Q) as the kernels take them."""
    return np.ascontiguousarray(weights, np.float32)
