"""One image of a mask network: its queries to counts, or to maps of ranks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kernels.resampling import largest_in_band
from logitpipe.stages.score.kinds.bands import not_finite, sampled
from logitpipe.stages.score.kinds.blocks import own_rows, write_ranks
from logitpipe.stages.score.kinds.canvas import bands_of, bands_to
from logitpipe.stages.score.kinds.mask_blocks import Block, JoinedBlock, blocks
from logitpipe.stages.score.kinds.pairs import computed
from logitpipe.stages.score.kinds.planes import all_planes, known_shares, normalised_first
from logitpipe.stages.score.kinds.queries import Queries, Window, is_whole, whole
from logitpipe.stages.score.kinds.whole import WholeImage, beside
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
            yield Block(claimed, bands_to(self.geometry, size))
        else:
            yield from blocks(self.windows, self.geometry, self.sigmoid_at, size, T_m)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, one temperature after another; see `Logits`."""
        height, width = labels.shape
        for planes in all_planes(plan, pairs, self.blocks, (height, width)):
            planes.count(plan, labels, counts, above)

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        for part in self._parts(plan, pairs, size):
            yield from self._maps(plan, part, size).items()

    def _maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> dict[int, np.ndarray]:
        """Return the ranks of some pairs, all at once: float32 (H, W) each."""
        maps: dict[int, np.ndarray] = {}
        for planes in all_planes(plan, pairs, self.blocks, size):
            for i in planes.places:
                maps.setdefault(i, np.empty(size, np.float32))
            write_ranks(planes.ranks(), maps)
        return maps

    def rank_bands(
        self, plan: Plan, pairs: Sequence[int], labels: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """See `Logits`: a map at a time, as each temperature has planes of its own."""
        height, width = labels.shape
        for i, ranks in self.rank_maps(plan, pairs, (height, width)):
            yield i, ranks.reshape(-1), labels.reshape(-1)

    def whole_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        # Two maps for each pair: what it is made of, and which query claims a pixel.
        most, of_image = max(1, MAPS_BYTES // (8 * size[0] * size[1])), dict[float | None, list[int]]()
        for i in pairs:
            how = computed(plan, i)
            if isinstance(how, OfImage):
                of_image.setdefault(plan.pairs[i].mask_temperature, []).append(i)
            else:
                assert isinstance(how, Own)
                yield i, self._at_masks(plan, i, size) if how.at_masks else self._own_map(plan, i, size)
        for same in of_image.values():
            for start in range(0, len(same), most):
                yield from self._of_image(plan, same[start : start + most], size)

    def _of_image(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the ranks of pairs that need the whole image, at one T_m."""
        # Where a protocol computes some methods as scripts do, methods that are made of them take them as they are.
        plain = replace(plan, protocol=replace(plan.protocol, sum_epsilon=0.0, drop_last_class=False))
        known: dict[Pair, np.ndarray] = {}

        def ranks_of(pair: Pair) -> np.ndarray:
            """Return the ranks of a pair of another method, computed at the temperatures of all pairs at once."""
            if pair not in known:
                every = tuple(dict.fromkeys(beside(plain, plan.pairs[i], pair.method) for i in pairs))
                of_pairs = self._maps(replace(plain, pairs=every), range(len(every)), size)
                known.update((every[k], ranks) for k, ranks in of_pairs.items())
            return known[pair]

        claiming = cache(lambda: self._claiming(plan, [plan.pairs[i] for i in pairs], size))
        for place, i in enumerate(pairs):
            how, pair = computed(plan, i), plan.pairs[i]
            assert isinstance(how, OfImage)
            image = WholeImage(plain, pair, ranks_of, partial(_nth, claiming, place))
            yield i, how.ranks(image, **plan.parameters(pair))

    def _own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """Return the scores of a function; queries of several windows stand side by side, M being 0 elsewhere."""
        chosen, K = plan.pairs[pair], len(plan.in_distribution)
        epsilon = plan.protocol.sum_epsilon if normalised_first(plan, pair) else None
        scores = np.empty(size, np.float32)
        for block in self.blocks(size, chosen.mask_temperature or 1.0):
            P = [known_shares(plan, chosen, each) for each in block.queries]
            given = _given(chosen, np.concatenate(P), np.concatenate([each.class_logits for each in block.queries]))
            S = [_class_map(each, of_class, epsilon) for each, of_class in zip(block.queries, P, strict=True)]
            for band in block.bands([np.concatenate(both) for both in zip(S, _apart(block.queries), strict=True)]):
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

    def _claiming(self, plan: Plan, pairs: Sequence[Pair], size: tuple[int, int]) -> np.ndarray:
        """Return argmax_q M_q max_k P_qk over the queries of all windows, of pairs at one T_m: int16 (n, H, W)."""
        found = np.empty((len(pairs), *size), np.int16)
        for block in self.blocks(size, pairs[0].mask_temperature or 1.0):
            P = [np.concatenate([known_shares(plan, pair, each) for each in block.queries]) for pair in pairs]
            best = np.array([each[:, :-1].max(axis=1) for each in P], np.float32)
            for band in block.bands(_apart(block.queries)):
                largest_in_band(band.values, best, band.axes, band.rows.start, found)
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


def _nth(maps: Callable[[], np.ndarray], place: int) -> np.ndarray:
    return maps()[place]


def _given(pair: Pair, P: np.ndarray, z: np.ndarray) -> dict[str, Any]:
    """Return what functions of the user's may ask for beside maps."""
    return {"P": P, "z": z, **dict(zip(("T", "T_S", "T_m"), pair.temperatures, strict=True))}


def _class_map(queries: Queries, P: np.ndarray, epsilon: float | None) -> np.ndarray:
    """Return S, float32 (K, n); with an `epsilon` divided by its sum and that, see `scripted.divided`."""
    S = P[:, :-1].T.astype(np.float32) @ queries.M
    return S if epsilon is None else divided(S, epsilon)


def _apart(queries: Sequence[Queries]) -> list[np.ndarray]:
    """Return for each window M of all windows' queries, side by side, 0 for those of others: float32 (Q, n)."""
    if len(queries) == 1:
        return [queries[0].M]
    starts, found = np.cumsum([0, *(len(each.M) for each in queries)]), []
    for each, start in zip(queries, starts, strict=False):
        M = np.zeros((starts[-1], each.M.shape[1]), np.float32)
        M[start : start + len(each.M)] = each.M
        found.append(M)
    return found
