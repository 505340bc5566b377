"""One image of a mask network: its queries to counts, or to maps of ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from logitpipe.cache import IntegrityError
from logitpipe.stages.score.kernels import mask as kernels
from logitpipe.stages.score.kernels.arithmetic import patterns, sigmoid, widened
from logitpipe.stages.score.kernels.counts import Counts
from logitpipe.stages.score.kernels.mask_ranks import ROWS
from logitpipe.stages.score.kinds.pixel import axes, bands, row_layouts, sampled
from logitpipe.stages.score.methods.own import score_band
from logitpipe.stages.score.methods.scripted import divided
from logitpipe.stages.score.plan import Plan


@dataclass(frozen=True)
class Planes:
    """What one call of a kernel works on.

    Parameters
    ----------
    values : float32 (P, h, w), as `mask_ranks.finish` wants them
    pairs : indices of the plan's pairs that they serve
    """

    values: np.ndarray
    pairs: list[int]


@dataclass(frozen=True)
class MaskLogits:
    """Queries of a mask network (see `kinds.Logits`).

    Parameters
    ----------
    M : float32 (Q, h, w), sigmoid of the mask logits
    claimed : float32 (h w,), sum over queries of M
    class_logits : float64 (Q, K + 1), the last one "no object"
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("mask_logits", "class_logits")

    M: np.ndarray
    claimed: np.ndarray
    class_logits: np.ndarray

    @classmethod
    def prepare(cls, values: Mapping[str, np.ndarray]) -> Self:
        """Take `mask_logits` (Q, h, w) and `class_logits` (Q, K + 1); see `Logits`."""
        M, class_logits = widened(patterns(values["mask_logits"])), values["class_logits"].astype(np.float64)
        # In place: `widened` has made a copy, so that the store's array stays as it was.
        damaged = sigmoid(M.reshape(-1)) + int((~np.isfinite(class_logits)).sum())
        if damaged:
            raise IntegrityError(f"finite logits were expected, {damaged} are NaN or infinite")
        return cls(M, M.sum(axis=0).reshape(-1), class_logits)

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count pairs, one temperature after another; see `Logits`."""
        layouts = row_layouts(plan, ROWS)
        sizes = axes(self.M.shape[1:], labels.shape)
        for planes in all_planes(plan, pairs, self):
            # -1: the kernel computes and counts only rows that a pair asked for.
            slots = np.full(ROWS, -1)
            for i in planes.pairs:
                slots[plan.methods[plan.pairs[i].method].row] = i
            kernels.count_masks(
                planes.values,
                len(plan.in_distribution),
                sizes,
                labels,
                slots,
                layouts,
                counts,
                plan.threshold_ranks,
                above,
            )

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """See `Logits`."""
        sizes = axes(self.M.shape[1:], size)
        for planes in all_planes(plan, pairs, self):
            rows = {i: plan.methods[plan.pairs[i].method].row for i in planes.pairs}
            wanted, ranks = np.isin(np.arange(ROWS), list(rows.values())), np.empty((ROWS, *size), np.float32)
            kernels.rank_masks(planes.values, len(plan.in_distribution), sizes, wanted, ranks)
            yield from ((i, ranks[row]) for i, row in rows.items())

    def own_map(self, plan: Plan, pair: int, size: tuple[int, int]) -> np.ndarray:
        """See `Logits`."""
        T, method, known = plan.pairs[pair].temperature, plan.methods[plan.pairs[pair].method], plan.in_distribution
        P, queries = _known_first(softmax(self.class_logits / (T or 1.0)), known), range(len(self.M))
        S = P[:, :-1].T.astype(np.float32) @ self.M.reshape(len(self.M), -1)
        S = (divided(S, plan.protocol.sum_epsilon) if _normalised_first(plan, pair) else S).reshape(
            -1, *self.M.shape[1:]
        )
        scores = np.empty(size, np.float32)
        for rows in bands(size[0]):
            maps = {"S": sampled(S, range(len(known)), rows, size), "M": sampled(self.M, queries, rows, size)}
            scores[rows] = score_band(method, maps | {"P": P, "z": self.class_logits, "T": T}, scores[rows].shape)
        return scores


def all_planes(plan: Plan, pairs: Sequence[int], queries: MaskLogits) -> Iterator[Planes]:
    """Yield the planes of each temperature, then those of `maxlogit`, which has none."""
    class_logits, claimed, shape = queries.class_logits, queries.claimed, (-1, *queries.M.shape[1:])
    known = plan.in_distribution
    M = queries.M.reshape(len(queries.M), -1)
    for T in plan.temperatures:
        wanted = [i for i in pairs if plan.pairs[i].temperature == T]
        if wanted:
            # One product with M serves both forms: `normalised` returns a copy and leaves `planes` as it is.
            planes = tempered_planes(_known_first(softmax(class_logits / T), known), M, claimed)
            if late := [i for i in wanted if not _normalised_first(plan, i)]:
                yield Planes(planes.reshape(shape), late)
            if early := [i for i in wanted if _normalised_first(plan, i)]:
                yield Planes(normalised(planes, len(known)).reshape(shape), early)
    if wanted := [i for i in pairs if plan.pairs[i].temperature is None]:
        yield Planes((class_logits[:, known].T.astype(np.float32) @ M).reshape(shape), wanted)


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
