"""The planes that pairs of a mask network are computed from: S and single maps, mixed of M block by block."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from logitpipe.stages.score.kernels.fused.mask import score_masks
from logitpipe.stages.score.kernels.fused.mask_ranks import ROWS, SINGLE_MAPS
from logitpipe.stages.score.kernels.fused.sinks import Sink, kept, whole_rows
from logitpipe.stages.score.kinds.bands import Band, Size
from logitpipe.stages.score.kinds.blocks import Ranks, class_ranks, map_ranks
from logitpipe.stages.score.kinds.mask_blocks import Block, JoinedBlock
from logitpipe.stages.score.kinds.pairs import computed, row_of
from logitpipe.stages.score.kinds.queries import Queries
from logitpipe.stages.score.methods.accumulators import QuerySums, not_best
from logitpipe.stages.score.methods.method import Fused, OfClasses, OfQueries
from logitpipe.stages.score.plan import Pair, Plan

Blocks = Callable[[Size, float], Iterator[Block | JoinedBlock]]
"""`mask.MaskLogits.blocks` of an image."""

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


def all_planes(plan: Plan, pairs: Sequence[int], blocks: Blocks, size: Size) -> Iterator[Planes]:
    """Yield the planes of each block: those of each temperature, then those of raw class logits, which have none."""
    for T_m in dict.fromkeys(plan.pairs[i].mask_temperature for i in pairs):
        of_masks = [i for i in pairs if plan.pairs[i].mask_temperature == T_m]
        raw = [i for i in of_masks if _is_raw(plan, i)]
        by_temperature: dict[float, list[int]] = {}
        for i in of_masks:
            if i not in raw:
                by_temperature.setdefault(plan.pairs[i].temperature or 1.0, []).append(i)
        for block in blocks(size, T_m or 1.0):
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
        early = [i for i in fused if normalised_first(plan, i)]
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


def known_shares(plan: Plan, pair: Pair, queries: Queries) -> np.ndarray:
    """Return P, float64 (Q, K + 1), of the known classes and, last, the rest."""
    return _known_first(softmax(queries.class_logits / (pair.temperature or 1.0)), plan.in_distribution)


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


def _matrix(weights: np.ndarray) -> np.ndarray:
    """Return weights (P, Q) as the kernels take them."""
    return np.ascontiguousarray(weights, np.float32)


def _of_map(pair: Pair) -> float | None:
    return pair.map_temperature
