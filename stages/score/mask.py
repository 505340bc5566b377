"""From one image of a mask store to counts or to maps of ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cache import IntegrityError
from stages.score import mask_kernels as kernels
from stages.score.histogram import Tally
from stages.score.pixel import Values, axes
from stages.score.plan import Plan


@dataclass(frozen=True)
class Planes:
    """What one call of a kernel works on.

    Parameters
    ----------
    values : float32 (P, h, w), as `mask_kernels.finish` wants them
    pairs : indices of the plan's pairs that they serve
    """

    values: np.ndarray
    pairs: list[int]


def count_image(
    plan: Plan, pairs: list[int], values: Values, labels: np.ndarray, thresholds: np.ndarray, tally: Tally
) -> None:
    """Count pairs of one image, one temperature after another.

    Parameters
    ----------
    pairs : indices into the plan's pairs
    values : `mask_logits` (Q, h, w) and `class_logits` (Q, K + 1)
    labels : uint8 (H, W) at the evaluation size
    thresholds : `Plan.threshold_ranks`
    """
    layouts = np.zeros((kernels.ROWS, 5), np.int32)
    for method in plan.methods.values():
        layouts[method.row] = method.scale.bins.layout
    sizes = axes(values["mask_logits"].shape[1:], labels.shape)
    for planes in all_planes(plan, pairs, values):
        slots = np.full(kernels.ROWS, -1)
        for i in planes.pairs:
            slots[plan.methods[plan.pairs[i].method].row] = i
        kernels.count_masks(
            planes.values,
            len(plan.schema.classes),
            sizes,
            labels,
            slots,
            layouts,
            tally.counts,
            thresholds,
            tally.above,
        )


def rank_maps(
    plan: Plan, pairs: list[int], values: Values, size: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of pair, float32 (H, W) ranks) for some pairs of one image, in no particular order."""
    sizes = axes(values["mask_logits"].shape[1:], size)
    for planes in all_planes(plan, pairs, values):
        ranks = np.empty((kernels.ROWS, *size), np.float32)
        kernels.rank_masks(planes.values, len(plan.schema.classes), sizes, ranks)
        yield from ((i, ranks[plan.methods[plan.pairs[i].method].row]) for i in planes.pairs)


def all_planes(plan: Plan, pairs: list[int], values: Values) -> Iterator[Planes]:
    """Yield the planes of each temperature, then those of `maxlogit`, which has none."""
    mask_logits, class_logits = values["mask_logits"], values["class_logits"].astype(np.float64)
    if not (np.isfinite(mask_logits).all() and np.isfinite(class_logits).all()):
        raise IntegrityError("finite logits were expected, some are NaN or infinite")
    M = sigmoid(mask_logits.astype(np.float32)).reshape(len(mask_logits), -1)
    shape = (-1, *mask_logits.shape[1:])
    claimed = M.sum(axis=0)
    for T in plan.temperatures:
        wanted = [i for i in pairs if plan.pairs[i].temperature == T]
        if wanted:
            planes = tempered_planes(softmax(class_logits / T), M, claimed)
            if late := [i for i in wanted if not _normalised_first(plan, i)]:
                yield Planes(planes.reshape(shape), late)
            if early := [i for i in wanted if _normalised_first(plan, i)]:
                yield Planes(normalised(planes, len(plan.schema.classes)).reshape(shape), early)
    if wanted := [i for i in pairs if plan.pairs[i].temperature is None]:
        yield Planes((class_logits[:, :-1].T.astype(np.float32) @ M).reshape(shape), wanted)


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


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softmax(z: np.ndarray) -> np.ndarray:
    """Return softmax over the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _normalised_first(plan: Plan, pair: int) -> bool:
    return plan.protocol.normalise_first and plan.pairs[pair].method in ("msp", "entropy")
