"""One image of a mask network: its queries to counts, or to maps of ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels import mask as kernels
from logitpipe.stages.score.kernels.arithmetic import patterns
from logitpipe.stages.score.kernels.counts import Counts
from logitpipe.stages.score.kernels.mask_ranks import ROWS
from logitpipe.stages.score.kinds.canvas import Band, bands_of, sampled
from logitpipe.stages.score.kinds.maps import Maps
from logitpipe.stages.score.kinds.pixel import own_rows, row_layouts
from logitpipe.stages.score.kinds.queries import Block, Queries, Window, blocks, is_whole, not_finite, whole
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.methods.scripted import divided
from logitpipe.stages.score.plan import Plan

MAPS_BYTES = 256 << 20
"""Memory for the maps of one image that are made at once, in bytes."""


@dataclass(frozen=True)
class Planes:
    """What one call of a kernel works on.

    Parameters
    ----------
    band : planes as `mask_ranks.finish` wants them, and the rows that they serve
    pairs : indices of the plan's pairs that they serve
    """

    band: Band
    pairs: list[int]


@dataclass(frozen=True)
class MaskLogits:
    """Queries of a mask network (see `kinds.Logits`).

    Parameters
    ----------
    windows : of the image
    geometry : of the image; None for one window without padding
    sigmoid_at : where M is computed
    whole : queries of each window where M has a size of its own, else none
    size : that size
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("mask_logits", "class_logits")

    windows: tuple[Window, ...]
    geometry: Geometry | None
    sigmoid_at: SigmoidAt
    whole: tuple[Queries, ...]
    size: tuple[int, int]

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
        queries, size = whole(taken, sigmoid_at) if is_whole(geometry, sigmoid_at) else ([], (0, 0))
        return cls(taken, geometry, sigmoid_at, tuple(queries), size)

    def blocks(self, size: tuple[int, int]) -> Iterator[Block]:
        """Yield the image in blocks, for an evaluation size; raises as `queries.blocks`."""
        if self.whole or self.geometry is None:
            yield Block(self.whole, lambda planes: bands_of(self._as_maps(planes), self.geometry, size))
        else:
            yield from blocks(self.windows, self.geometry, self.sigmoid_at, size)

    def _as_maps(self, planes: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [each.reshape(-1, *self.size) for each in planes]

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, one temperature after another; see `Logits`."""
        layouts, (height, width) = row_layouts(plan, ROWS), labels.shape
        for planes in all_planes(plan, pairs, self, (height, width)):
            # -1: the kernel computes and counts only rows that a pair asked for.
            slots = np.full(ROWS, -1)
            for i in planes.pairs:
                slots[plan.methods[plan.pairs[i].method].row] = i
            kernels.count_masks(
                planes.band.values,
                len(plan.in_distribution),
                planes.band.axes,
                labels[planes.band.rows],
                slots,
                layouts,
                counts,
                plan.threshold_ranks,
                above,
            )

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        for part in self._parts(plan, pairs, size):
            maps: dict[tuple[int, ...], Maps] = {}
            for planes in all_planes(plan, part, self, size):
                rows = {i: plan.methods[plan.pairs[i].method].row for i in planes.pairs}
                of_planes = maps.setdefault(tuple(rows), Maps(rows, ROWS, size))
                with of_planes.rows(planes.band.rows) as ranks:
                    kernels.rank_masks(
                        planes.band.values, len(plan.in_distribution), planes.band.axes, of_planes.wanted, ranks
                    )
            for each in maps.values():
                yield from each.each()

    def own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """See `Logits`; the queries of several windows stand side by side, M being 0 outside of each one's window."""
        T, method, known = plan.pairs[pair].temperature, plan.methods[plan.pairs[pair].method], plan.in_distribution
        epsilon = plan.protocol.sum_epsilon if _normalised_first(plan, pair) else None
        scores = np.empty(size, np.float32)
        for block in self.blocks(size):
            P = [_known_first(softmax(each.class_logits / (T or 1.0)), known) for each in block.queries]
            z = np.concatenate([each.class_logits for each in block.queries])
            for band in block.bands(_side_by_side(block.queries, P, epsilon)):
                K, count = len(known), len(band.values)
                for rows in own_rows(band.rows):
                    values = sampled(band, range(count), rows)
                    given = {"S": values[:K], "M": values[K:], "P": np.concatenate(P), "z": z, "T": T}
                    scores[rows] = score_band(method, given, scores[rows].shape)
        return scores

    def _parts(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[list[int]]:
        """Divide pairs so that the maps of a part fit memory: as many as do where blocks are costly to make."""
        by_temperature: dict[float | None, list[int]] = {}
        for i in pairs:
            by_temperature.setdefault(plan.pairs[i].temperature, []).append(i)
        part: list[int] = []
        for group in by_temperature.values():
            if part and (self.whole or 4 * (len(part) + len(group)) * size[0] * size[1] > MAPS_BYTES):
                yield part
                part = []
            part = part + group
        if part:
            yield part


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
    """Yield the planes of each block: those of each temperature, then those of `maxlogit`, which has none."""
    known = plan.in_distribution
    K = len(known)
    for block in logits.blocks(size):
        for T in plan.temperatures:
            wanted = [i for i in pairs if plan.pairs[i].temperature == T]
            if wanted:
                # One product with M serves both forms: `normalised` returns a copy and leaves `planes` as it is.
                planes = [
                    tempered_planes(_known_first(softmax(each.class_logits / T), known), each.M, each.claimed)
                    for each in block.queries
                ]
                if late := [i for i in wanted if not _normalised_first(plan, i)]:
                    yield from (Planes(band, late) for band in block.bands(planes))
                if early := [i for i in wanted if _normalised_first(plan, i)]:
                    shares = [normalised(each, K) for each in planes]
                    yield from (Planes(band, early) for band in block.bands(shares))
        if wanted := [i for i in pairs if plan.pairs[i].temperature is None]:
            planes = [each.class_logits[:, known].T.astype(np.float32) @ each.M for each in block.queries]
            yield from (Planes(band, wanted) for band in block.bands(planes))


def _known_first(P: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Return (Q, K + 1) with the known classes and, last, the rest: no object, and void or outlier where trained."""
    if len(known) == P.shape[1] - 1:
        return P
    # Summed and not 1 - the known ones, which would cancel where the network is confident.
    rest = np.delete(P, known, axis=1).sum(axis=1)
    return np.column_stack([P[:, known], rest])


def tempered_planes(P: np.ndarray, M: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Return float32 (K + SINGLE_MAPS, n): S_k, then the maps of `eam`, `void` and `rba-normalized`.

    Parameters
    ----------
    P : float64 (Q, K + 1), softmax over the classes and, last, no object
    M : float32 (Q, n), how much each query claims each pixel
    claimed : float32 (n,), sum over queries of M; where it is 0, no query speaks and `rba-normalized` is 1
    """
    classes = P[:, :-1]
    best = classes.max(axis=1)
    # 1 - best, summed from what is left so that confident queries do not cancel to zero.
    left = P[:, -1] + classes.sum(axis=1, where=np.arange(classes.shape[1]) != classes.argmax(axis=1)[:, None])
    planes = np.column_stack([classes, best, P[:, -1], left]).T.astype(np.float32) @ M
    planes[-1] = np.divide(planes[-1], claimed, out=np.ones_like(claimed), where=claimed > 0)
    return planes


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
