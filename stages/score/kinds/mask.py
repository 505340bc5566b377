"""One image of a mask network: its queries to counts, or to maps of ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.fused.mask_ranks import ROWS
from logitpipe.stages.score.kernels.fused.sinks import counted
from logitpipe.stages.score.kinds.bands import largest, not_finite, sampled
from logitpipe.stages.score.kinds.blocks import count_ranks, own_rows, write_ranks
from logitpipe.stages.score.kinds.canvas import bands_of
from logitpipe.stages.score.kinds.mask_blocks import Block, JoinedBlock, blocks
from logitpipe.stages.score.kinds.pairs import computed, row_layouts
from logitpipe.stages.score.kinds.planes import all_planes, known_shares, normalised_first
from logitpipe.stages.score.kinds.queries import Queries, Window, is_whole, whole
from logitpipe.stages.score.kinds.whole import WholeImage
from logitpipe.stages.score.methods.method import OfImage, Own
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.methods.scripted import divided
from logitpipe.stages.score.plan import Pair, Plan

MAPS_BYTES = 256 << 20
"""Memory for the maps of one image that are made at once, in bytes."""


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
        """Yield the image in blocks, for an evaluation size, at T_m; raises as `mask_blocks.blocks`."""
        if self.whole or self.geometry is None:
            claimed = self.whole if T_m == 1 else whole(self.windows, self.sigmoid_at, T_m)
            yield Block(claimed, lambda planes: bands_of(planes, self.geometry, size))
        else:
            yield from blocks(self.windows, self.geometry, self.sigmoid_at, size, T_m)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, one temperature after another; see `Logits`."""
        layouts, (height, width) = row_layouts(plan, ROWS), labels.shape
        for planes in all_planes(plan, pairs, self.blocks, (height, width)):
            if planes.fused:
                slots = planes.slots(plan, planes.fused)
                sink = counted(slots, layouts, counts, plan.threshold_ranks, above, width)
                planes.score(plan, labels[planes.band.rows], sink)
            count_ranks(plan, planes.other_ranks(plan, labels), labels, counts, above)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        for part in self._parts(plan, pairs, size):
            maps: dict[int, np.ndarray] = {}
            for planes in all_planes(plan, part, self.blocks, size):
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
        epsilon = plan.protocol.sum_epsilon if normalised_first(plan, pair) else None
        scores = np.empty(size, np.float32)
        for block in self.blocks(size, chosen.mask_temperature or 1.0):
            P = [known_shares(plan, chosen, each) for each in block.queries]
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
            P, at = known_shares(plan, chosen, queries), queries.size
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
            P = [known_shares(plan, pair, each) for each in block.queries]
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
