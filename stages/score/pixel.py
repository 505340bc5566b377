"""From one image of a pixel store to counts or to maps of ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cache import IntegrityError
from stages.score import pixel_kernels as kernels
from stages.score.arithmetic import widen_half
from stages.score.histogram import Tally
from stages.score.plan import Pair, Plan
from stages.score.resampling import Axis, axis_weights

Values = dict[str, np.ndarray]
"""Arrays of one image by name, as they lie in the store."""


@dataclass(frozen=True)
class Group:
    """Methods that see the same classes.

    Parameters
    ----------
    planes : int64 (P,), channels to read: the classes, then perhaps void
    classes : number of classes
    pairs : indices into the plan's pairs
    """

    planes: np.ndarray
    classes: int
    pairs: list[int]


def groups(plan: Plan, pairs: list[int]) -> list[Group]:
    """Divide pairs: where a protocol counts void among the classes, the method `void` itself still does not."""
    plain: list[int] = []
    widened: list[int] = []
    for i in pairs:
        more = plan.classes(plan.pairs[i].method) > len(plan.in_distribution)
        (widened if more else plain).append(i)
    void = [plan.schema.void_class] if any(plan.pairs[i].method == "void" for i in plain) else []
    known, every = plan.in_distribution, list(range(len(plan.schema.classes)))
    found = [Group(np.array(known + void), len(known), plain), Group(np.array(every), len(every), widened)]
    return [group for group in found if group.pairs]


def count_image(
    plan: Plan, pairs: list[int], values: Values, labels: np.ndarray, thresholds: np.ndarray, tally: Tally
) -> None:
    """Count pairs of one image, all temperatures in one pass over its logits.

    Parameters
    ----------
    pairs : indices into the plan's pairs
    values : `logits`, (C, h, w)
    labels : uint8 (H, W) at the evaluation size
    thresholds : `Plan.threshold_ranks`
    """
    temperatures = np.array(plan.temperatures, np.float32)
    layouts = np.zeros((kernels.ROWS, 5), np.int32)
    for method in plan.methods.values():
        layouts[method.row] = method.scale.bins.layout
    for group in groups(plan, pairs):
        damaged = kernels.count_pixels(
            select_planes(values["logits"], group.planes),
            group.classes,
            temperatures,
            axes(values["logits"].shape[1:], labels.shape),
            labels,
            _slots(plan, group),
            layouts,
            tally.counts,
            thresholds,
            tally.above,
        )
        _refuse_damage(damaged)


def rank_maps(
    plan: Plan, pairs: list[int], values: Values, size: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of pair, float32 (H, W) ranks) for some pairs of one image, in no particular order."""
    for group in groups(plan, pairs):
        planes = select_planes(values["logits"], group.planes)
        for T in plan.temperatures:
            wanted = [i for i in group.pairs if _temperature(plan, plan.pairs[i]) == T]
            if wanted:
                ranks = np.empty((kernels.ROWS, *size), np.float32)
                sizes = axes(planes.shape[1:], size)
                _refuse_damage(kernels.rank_pixels(planes, group.classes, np.float32(T), sizes, ranks))
                yield from ((i, ranks[plan.methods[plan.pairs[i].method].row]) for i in wanted)


def select_planes(logits: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return some channels of float16 or float32 logits as float32, exactly."""
    if logits.dtype == np.float32:
        return logits[planes]
    out = np.empty((len(planes), *logits.shape[1:]), np.float32)
    widen_half(logits.view(np.uint16), planes, out)
    return out


def axes(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return how rows and columns of the store map to those of evaluation."""
    return axis_weights(source[0], target[0]), axis_weights(source[1], target[1])


def _slots(plan: Plan, group: Group) -> np.ndarray:
    """Return where the kernel counts: int64 (ROWS, temperatures), -1 for what it need not count."""
    slots = np.full((kernels.ROWS, len(plan.temperatures)), -1)
    for i in group.pairs:
        row = plan.methods[plan.pairs[i].method].row
        slots[row, plan.temperatures.index(_temperature(plan, plan.pairs[i]))] = i
    return slots


def _temperature(plan: Plan, pair: Pair) -> float:
    """Return the temperature at which a pair is computed: the first one where it does not matter."""
    return plan.temperatures[0] if pair.temperature is None else pair.temperature


def _refuse_damage(damaged: int) -> None:
    if damaged:
        raise IntegrityError(f"finite logits were expected, {damaged} are NaN or infinite")
