"""Component figures of every pair of a plan, at thresholds that earlier walks over the store have found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.figures.components import OBJECT_SIZES, ComponentFigures, sizes_of
from logitpipe.stages.score.figures.rows import Identity, Row, identity
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.components import Components
from logitpipe.stages.score.statistics.percentile_curve import IMAGE_BYTES, PercentileCurve
from logitpipe.stages.score.thresholds import limit_above, limit_from

CURVE_BYTES = 256 << 20
"""Memory for the official curves of one walk, in bytes."""


@dataclass(frozen=True, kw_only=True)
class ComponentRow(Identity):
    """The component figures of one method at one temperature on one store, fractions from 0 to 1.

    Parameters
    ----------
    rule : where the threshold comes from: "best-f1" of all scores of the store (a score that reaches it is
        anomalous), "official" (see `percentile_curve`), or "given"; a score above one of these two is anomalous
    threshold : in the unit that scores are pooled in; None is below all scores
    sizes : "all", or the objects that are looked at, a key of OBJECT_SIZES
    """

    rule: str
    threshold: float | None
    sizes: str
    images: int
    figures: ComponentFigures


def component_walks(plan: Plan, images: int) -> list[Plan]:
    """Divide a plan into parts whose official curves over so many images fit memory, one for each walk."""
    most = max(1, CURVE_BYTES // max(1, IMAGE_BYTES * images))
    return [replace(plan, pairs=plan.pairs[i : i + most]) for i in range(0, len(plan.pairs), most)]


def component_rows(
    store: Store,
    plan: Plan,
    images: Sequence[int],
    rows: Sequence[Row],
    workers: int,
    advance: Callable[[], None],
    walker: Walk = walk,
) -> list[ComponentRow]:
    """Return the component figures of every pair, threshold and size of objects.

    Parameters
    ----------
    images : indices of the images that `rows` were computed from
    rows : of the sweep, in the order of the plan's pairs
    workers : threads
    advance : called `len(component_walks(plan, len(images))) + 1` times for each image, in this thread
    walker : who does the walks

    Raises
    ------
    IntegrityError, PipeError
        As for `walk`.
    """
    truth = GroundTruth(store, plan.protocol, images)
    official = [
        threshold
        for part in component_walks(plan, len(images))
        for statistic in [PercentileCurve(part, len(images))]
        for threshold in statistic.finish(walker(truth, images, statistic, workers, advance))
    ]
    # As ranks, which is what is computed: with a score each pixel would need the formula's last step too.
    rules: list[dict[tuple[str, float | None], np.float32]] = []
    for i, (row, best) in enumerate(zip(rows, official, strict=True)):
        limits: dict[tuple[str, float | None], np.float32] = {}
        if row.best_f1 is not None and best is not None:
            limits["best-f1", row.best_f1_threshold] = limit_from(plan, i, row.best_f1_threshold)
            limits["official", best] = limit_above(plan, i, best)
        limits |= {("given", threshold): limit_above(plan, i, threshold) for threshold in plan.thresholds}
        rules.append(limits)
    # The limits of all pairs are of one number: they depend on the ground truth and on the plan's thresholds.
    if not rules[0]:
        return []
    sizes = {"all": sizes_of(store.schema.dataset)} | OBJECT_SIZES
    components = Components(plan, np.array([list(limits.values()) for limits in rules]), list(sizes.values()))
    total = walker(truth, images, components, workers, advance)
    return [
        ComponentRow(**identity(row), rule=rule, threshold=threshold, sizes=name, images=row.images, figures=figures)
        for row, limits, of_pair in zip(rows, rules, components.finish(total), strict=True)
        for (rule, threshold), of_limit in zip(limits, of_pair, strict=True)
        for name, figures in zip(sizes, of_limit, strict=True)
        if name == "all" or rule == "best-f1"
    ]
