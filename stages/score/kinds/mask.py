"""One image of a mask network: its queries to counts, or to maps of ranks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.fused.mask import score_masks
from logitpipe.stages.score.kernels.fused.mask_ranks import ROWS, SINGLE_MAPS
from logitpipe.stages.score.kernels.fused.sinks import Sink, counted, kept, whole_rows
from logitpipe.stages.score.kinds.blocks import Ranks, class_ranks, count_ranks, map_ranks, write_ranks
from logitpipe.stages.score.kinds.canvas import Band, bands_of, largest, sampled
from logitpipe.stages.score.kinds.pixel import computed, own_rows, row_layouts, row_of
from logitpipe.stages.score.kinds.queries import (
    Block,
    JoinedBlock,
    Queries,
    Window,
    blocks,
    is_whole,
    not_finite,
    whole,
)
from logitpipe.stages.score.kinds.whole import WholeImage
from logitpipe.stages.score.methods.accumulators import QuerySums, not_best
from logitpipe.stages.score.methods.method import Fused, OfClasses, OfImage, OfQueries, Own
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.methods.scripted import divided
from logitpipe.stages.score.plan import Pair, Plan

MAPS_BYTES = 256 << 20
"""Memory for the maps of one image that are made at once, in bytes."""

PLANES_BYTES = 32 << 20
"""Memory for the planes that are mixed in one pass over M, those of one temperature at least, in bytes."""


@dataclass(frozen=True)
class Planes:
    """What pairs at one temperature are computed from, of some rows.

    Parameters
    ----------
    band : planes as `mask_ranks.finish` wants them, then one for each of `maps`; and the rows that they serve
    fused : indices of the plan's pairs that the fused kernels compute
    summed : of pairs that finish sums over the classes
    maps : of pairs whose ranks are a plane each
    """

    band: Band
    fused: list[int] = field(default_factory=list)
    summed: list[int] = field(default_factory=list)
    maps: list[int] = field(default_factory=list)

    @property
    def of_kernel(self) -> np.ndarray:
        """The planes that `mask_ranks.finish` wants."""
        return self.band.values[: len(self.band.values) - len(self.maps)]

    def slots(self, plan: Plan, places: Iterable[int]) -> np.ndarray:
        """Return where the kernel puts each rank, given the places of the fused pairs: int64 (ROWS, 1), else -1."""
        slots = np.full((ROWS, 1), -1)
        for i, place in zip(self.fused, places, strict=True):
            slots[row_of(plan, i)] = place
        return slots

    def score(self, plan: Plan, labels: np.ndarray, sink: Sink) -> None:
        """Score the fused pairs in the rows of the band."""
        score_masks(self.of_kernel, len(plan.in_distribution), self.band.axes, labels, sink)

    def fused_ranks(self, plan: Plan) -> Ranks:
        """Yield the ranks of the fused pairs, see `blocks.class_ranks`."""
        if self.fused:
            rows, width = self.band.rows, self.band.axes[1][0].size
            height = rows.stop - rows.start
            sink = kept(self.slots(plan, range(len(self.fused))), height, width)
            self.score(plan, np.zeros((height, width), np.uint8), sink)
            yield from ((i, rows, ranks) for i, ranks in zip(self.fused, whole_rows(sink, width), strict=True))

    def other_ranks(self, plan: Plan, labels: np.ndarray | None = None) -> Ranks:
        """Yield the ranks of all but the fused pairs, see `blocks.class_ranks`."""
        if self.summed:
            yield from class_ranks(plan, self.summed, self.band, range(len(plan.in_distribution)), _of_map, labels)
        if self.maps:
            yield from map_ranks(self.maps, self.band, len(self.of_kernel), labels)


@dataclass(frozen=True)
class MaskLogits:
    """Queries of a mask network (see `kinds.Logits`).

    Parameters
    ----------
    windows : of the image
    geometry : of the image; None for one window without padding
    sigmoid_at : where M is computed
    whole : queries of each window where M has a size of its own, else none
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("mask_logits", "class_logits")

    windows: tuple[Window, ...]
    geometry: Geometry | None
    sigmoid_at: SigmoidAt
    whole: tuple[Queries, ...]

    @classmethod
    def prepare(
        cls,
        windows: Sequence[Mapping[str, np.ndarray]],
        geometry: Geometry | None = None,
        sigmoid_at: SigmoidAt = "masks",
    ) -> Self:
        """Take `mask_logits` (Q, h, w) and `class_logits` (Q, K + 1) of each window; see `Logits`."""
        if damaged := sum(int((~np.isfinite(each["class_logits"])).sum()) for each in windows):
            raise not_finite(damaged)
        taken = tuple(
            Window(patterns(each["mask_logits"]), each["class_logits"].astype(np.float64)) for each in windows
        )
        queries = whole(taken, sigmoid_at) if is_whole(geometry, sigmoid_at) else []
        return cls(taken, geometry, sigmoid_at, tuple(queries))

    def blocks(self, size: tuple[int, int], T_m: float = 1.0) -> Iterator[Block | JoinedBlock]:
        """Yield the image in blocks, for an evaluation size, at T_m; raises as `queries.blocks`."""
        if self.whole or self.geometry is None:
            claimed = self.whole if T_m == 1 else whole(self.windows, self.sigmoid_at, T_m)
            yield Block(claimed, lambda planes: bands_of(planes, self.geometry, size))
        else:
            yield from blocks(self.windows, self.geometry, self.sigmoid_at, size, T_m)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, one temperature after another; see `Logits`."""
        layouts, (height, width) = row_layouts(plan, ROWS), labels.shape
        for planes in all_planes(plan, pairs, self, (height, width)):
            if planes.fused:
                slots = planes.slots(plan, planes.fused)
                sink = counted(slots, layouts, counts, plan.threshold_ranks, above, width)
                planes.score(plan, labels[planes.band.rows], sink)
            count_ranks(plan, planes.other_ranks(plan, labels), labels, counts, above)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        for part in self._parts(plan, pairs, size):
            maps: dict[int, np.ndarray] = {}
            for planes in all_planes(plan, part, self, size):
                for i in (*planes.fused, *planes.summed, *planes.maps):
                    maps.setdefault(i, np.empty(size, np.float32))
                write_ranks(planes.fused_ranks(plan), maps)
                write_ranks(planes.other_ranks(plan), maps)
            yield from maps.items()

    def rank_bands(
        self, plan: Plan, pairs: Sequence[int], labels: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """See `Logits`: a map at a time, as each temperature has planes of its own."""
        height, width = labels.shape
        for i, ranks in self.rank_maps(plan, pairs, (height, width)):
            yield i, ranks.reshape(-1), labels.reshape(-1)

    def whole_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """See `Logits`."""
        chosen, how = plan.pairs[pair], computed(plan, pair)
        if isinstance(how, OfImage):
            image = WholeImage(
                plan,
                chosen,
                self.rank_maps,
                size,
                lambda: self._largest(plan, chosen, size, of_queries=False),
                lambda: self._largest(plan, chosen, size, of_queries=True),
            )
            return plan.rank(chosen, how.scores(image, **plan.parameters(chosen)))
        assert isinstance(how, Own)
        return self._at_masks(plan, pair, size) if how.at_masks else self._own_map(plan, pair, size)

    def _own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """Return the scores of a function; queries of several windows stand side by side, M being 0 elsewhere."""
        chosen, K = plan.pairs[pair], len(plan.in_distribution)
        epsilon = plan.protocol.sum_epsilon if _normalised_first(plan, pair) else None
        scores = np.empty(size, np.float32)
        for block in self.blocks(size, chosen.mask_temperature or 1.0):
            P = [_shares(plan, chosen, each) for each in block.queries]
            given = _given(chosen, np.concatenate(P), np.concatenate([each.class_logits for each in block.queries]))
            for band in block.bands(_side_by_side(block.queries, P, epsilon)):
                for rows in own_rows(band.rows):
                    values = sampled(band, range(len(band.values)), rows)
                    maps = {"S": values[:K], "M": values[K:]}
                    scores[rows] = score_band(plan.methods[chosen.method], given | maps, scores[rows].shape)
        return scores

    def _at_masks(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """Return the scores of a function of maps of the masks' size, one window after another, resampled."""
        chosen, planes = plan.pairs[pair], []
        for queries in whole(self.windows, "masks", chosen.mask_temperature or 1.0):
            P, at = _shares(plan, chosen, queries), queries.size
            S = P[:, :-1].T.astype(np.float32) @ queries.M
            maps = {"S": S.reshape(-1, *at), "M": queries.M.reshape(-1, *at).copy()}
            given = _given(chosen, P, queries.class_logits) | maps
            planes.append(score_band(plan.methods[chosen.method], given, at)[None])
        scores = np.empty(size, np.float32)
        for band in bands_of(planes, self.geometry, size):
            scores[band.rows] = sampled(band, [0], band.rows)[0]
        return scores

    def _largest(self, plan: Plan, pair: Pair, size: tuple[int, int], of_queries: bool) -> np.ndarray:
        """Return where S_k is largest, or M_q max_k P_qk over the queries of all windows: int64 (H, W)."""
        K, found = len(plan.in_distribution), np.empty(size, np.int64)
        for block in self.blocks(size, pair.mask_temperature or 1.0):
            P = [_shares(plan, pair, each) for each in block.queries]
            best = np.concatenate([each[:, :-1].max(axis=1) for each in P]).astype(np.float32)
            for band in block.bands(_side_by_side(block.queries, P, None)):
                chosen = range(K, len(band.values)) if of_queries else range(K)
                found[band.rows] = largest(band, chosen, best if of_queries else np.ones(K, np.float32))
        return found

    def _parts(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[list[int]]:
        """Divide pairs so that the maps of a part fit memory: as many as do where blocks are costly to make."""
        most = max(1, MAPS_BYTES // max(1, 4 * size[0] * size[1]))
        by_temperature: dict[tuple[float | None, ...], list[int]] = {}
        for i in pairs:
            by_temperature.setdefault(plan.pairs[i].shared, []).append(i)
        part: list[int] = []
        for group in by_temperature.values():
            for start in range(0, len(group), most):
                more = group[start : start + most]
                if part and (self.whole or len(part) + len(more) > most):
                    yield part
                    part = []
                part = part + more
        if part:
            yield part


def _given(pair: Pair, P: np.ndarray, z: np.ndarray) -> dict[str, Any]:
    """Return what functions of the user's may ask for beside maps."""
    return {"P": P, "z": z, **dict(zip(("T", "T_S", "T_m"), pair.temperatures, strict=True))}


def _shares(plan: Plan, pair: Pair, queries: Queries) -> np.ndarray:
    """Return P, float64 (Q, K + 1), of the known classes and, last, the rest."""
    return _known_first(softmax(queries.class_logits / (pair.temperature or 1.0)), plan.in_distribution)


def _of_map(pair: Pair) -> float | None:
    return pair.map_temperature


def _side_by_side(queries: Sequence[Queries], P: Sequence[np.ndarray], epsilon: float | None) -> list[np.ndarray]:
    """Return the planes of each window: S of each class, then M of all windows' queries, 0 for those of others.

    With an `epsilon` S is divided by its sum and that, see `scripted.divided`.
    """
    starts = np.cumsum([0, *(len(each.M) for each in queries)])
    found = []
    for each, of_class, start in zip(queries, P, starts, strict=False):
        M = np.zeros((starts[-1], each.M.shape[1]), np.float32)
        M[start : start + len(each.M)] = each.M
        S = of_class[:, :-1].T.astype(np.float32) @ each.M
        found.append(np.concatenate([S if epsilon is None else divided(S, epsilon), M]))
    return found


def all_planes(plan: Plan, pairs: Sequence[int], logits: MaskLogits, size: tuple[int, int]) -> Iterator[Planes]:
    """Yield the planes of each block: those of each temperature, then those of raw class logits, which have none."""
    for T_m in dict.fromkeys(plan.pairs[i].mask_temperature for i in pairs):
        of_masks = [i for i in pairs if plan.pairs[i].mask_temperature == T_m]
        raw = [i for i in of_masks if _is_raw(plan, i)]
        by_temperature: dict[float, list[int]] = {}
        for i in of_masks:
            if i not in raw:
                by_temperature.setdefault(plan.pairs[i].temperature or 1.0, []).append(i)
        for block in logits.blocks(size, T_m or 1.0):
            most = max(1, PLANES_BYTES // (4 * (len(plan.in_distribution) + SINGLE_MAPS) * block.pixels))
            for start in range(0, len(by_temperature), most):
                some = list(by_temperature.items())[start : start + most]
                yield from _tempered(plan, dict(some), block)
            if raw:
                known, fused = plan.in_distribution, [i for i in raw if isinstance(computed(plan, i), Fused)]
                planes = block.mix([_matrix(each.class_logits[:, known].T) for each in block.queries])
                for band in block.mixed_bands(planes):
                    yield Planes(band, fused, [i for i in raw if i not in fused])


def _tempered(
    plan: Plan, by_temperature: Mapping[float, Sequence[int]], block: Block | JoinedBlock
) -> Iterator[Planes]:
    """Yield the planes of one block at some temperatures, which are mixed in one pass over M."""
    known = plan.in_distribution
    shares = {T: [softmax(each.class_logits / T) for each in block.queries] for T in by_temperature}
    P = {T: [_known_first(each, known) for each in found] for T, found in shares.items()}
    matrices = {T: [mixing(each) for each in found] for T, found in P.items()}
    rows = len(known) + SINGLE_MAPS
    stacked = [np.concatenate(of_window) for of_window in zip(*matrices.values(), strict=True)]
    mixed = block.mix(stacked)
    block.divide(mixed, stacked, slice(rows - 1, None, rows))
    for t, (T, wanted) in enumerate(by_temperature.items()):
        planes = [each[t * rows : (t + 1) * rows] for each in mixed]
        fused, summed, maps = (
            [i for i in wanted if isinstance(computed(plan, i), kind)] for kind in (Fused, OfClasses, OfQueries)
        )
        early = [i for i in fused if _normalised_first(plan, i)]
        late = [i for i in fused if i not in early]
        beside = None
        if maps:
            sums = [
                QuerySums(of_class, each.M, each.claimed, _outlier(plan, share))
                for of_class, share, each in zip(P[T], shares[T], block.queries, strict=True)
            ]
            beside = [np.stack([_of_queries(plan, i, of_window) for i in maps]) for of_window in sums]
        # One product with M serves both forms: `normalised` returns a copy and leaves `planes` as it is.
        if late or summed or maps:
            yield from (Planes(band, late, summed, maps) for band in block.mixed_bands(planes, beside))
        if early:
            of_windows = block.unjoined(planes, matrices[T])
            yield from (
                Planes(band, early) for band in block.bands([normalised(each, len(known)) for each in of_windows])
            )


def _is_raw(plan: Plan, pair: int) -> bool:
    """Return whether a pair is computed from raw class logits, mixed by the masks."""
    how = computed(plan, pair)
    return plan.pairs[pair].temperature is None if isinstance(how, Fused) else getattr(how, "planes", "") == "Z"


def _of_queries(plan: Plan, pair: int, sums: QuerySums) -> np.ndarray:
    how = computed(plan, pair)
    assert isinstance(how, OfQueries)
    return how.ranks(sums, plan.parameters(plan.pairs[pair]))


def _outlier(plan: Plan, shares: np.ndarray) -> np.ndarray | None:
    """Return the share of a trained outlier class, (Q,), where the network has one."""
    index = getattr(plan.schema, "outlier_class", None)
    return None if index is None else shares[:, index]


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


def _matrix(weights: np.ndarray) -> np.ndarray:
    """Return weights (P, Q) as the kernels take them."""
    return np.ascontiguousarray(weights, np.float32)


def normalised(planes: np.ndarray, classes: int) -> np.ndarray:
    """Return planes whose S sums to 1 in each pixel; where all S are 0 they become equal."""
    total = planes[:classes].sum(axis=0)
    shares = np.divide(planes[:classes], total, out=np.full_like(planes[:classes], 1 / classes), where=total > 0)
    return np.concatenate([shares, planes[classes:]])


def softmax(z: np.ndarray) -> np.ndarray:
    """Return softmax over the last axis."""
    # Relative to the maximum, so that low temperatures cannot overflow.
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _normalised_first(plan: Plan, pair: int) -> bool:
    return plan.protocol.normalise_first and plan.pairs[pair].method in ("msp", "entropy")
